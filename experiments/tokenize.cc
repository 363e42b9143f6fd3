// wush tokenize: token ids as JSON.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/commands.h"
#include "lib/support/input_file.h"
#include "lib/support/json.h"
#include "lib/text/corpus.h"
#include "lib/text/tokenizer.h"

namespace wush {
namespace {

struct TokenizeOptions {
  std::string checkpoint;
  std::string text;
  std::string file;
  bool has_text = false;
};

void print_ids(const std::vector<std::int32_t>& ids) {
  fmt::print("[{}]\n", fmt::join(ids, ", "));
}

// Each line an object with "text"; blank lines are left out.
void tokenize_lines(const Tokenizer& tokenizer, const std::string& path) {
  const std::string content = read_input_file(path, kMaxTextBytes);
  std::string_view rest = content;
  for (std::size_t line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const JsonDocument document =
        JsonDocument::parse(text, fmt::format("{}:{}", path, line));
    print_ids(tokenizer.encode(document.root().at("text").string()));
  }
}

ExitCode tokenize(const TokenizeOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.checkpoint);
  if (options.has_text) {
    print_ids(tokenizer.encode(options.text));
  } else if (!options.file.empty()) {
    tokenize_lines(tokenizer, options.file);
  } else {
    throw InputError("wush tokenize", "expected --text or a file, found none");
  }
  return ExitCode::kDone;
}

}  // namespace

void add_tokenize(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "tokenize", "Token ids of a text, special tokens included, as JSON");
  const auto options = std::make_shared<TokenizeOptions>();
  command
      ->add_option("checkpoint", options->checkpoint,
                   "A folder with a tokenizer.json")
      ->required()
      ->type_name("CHECKPOINT");
  CLI::Option* text =
      command->add_option("--text", options->text, "The text itself")
          ->type_name("TEXT");
  command
      ->add_option("file", options->file,
                   "Lines of JSON with a \"text\" each: one array a line")
      ->type_name("FILE.jsonl")
      ->excludes(text);
  command->footer(
      "Example:\n  wush tokenize experiments/demo/model --text 'Hello world'");
  command->callback([options, text, &action] {
    options->has_text = text->count() > 0;
    action = [options] { return tokenize(*options); };
  });
}

}  // namespace wush
