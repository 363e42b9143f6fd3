#include "lib/text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/json.h"
#include "lib/support/unicode.h"
#include "lib/text/added_tokens.h"
#include "lib/text/byte_pair_encoding.h"
#include "lib/text/decoder.h"
#include "lib/text/normalizer.h"
#include "lib/text/post_processor.h"
#include "lib/text/pre_tokenizer.h"

namespace wush {
namespace {

// Llama 3's file, the largest known, has 17 MB, 0.97 million values and 5 MB of
// strings.
constexpr JsonLimits kTokenizerLimits = {.max_bytes = 64 << 20,
                                         .max_depth = 16,
                                         .max_values = 1250000,
                                         .max_string_bytes = 1 << 16,
                                         .max_total_string_bytes = 16 << 20};

}  // namespace

struct Tokenizer::State {
  explicit State(const JsonValue& root)
      : encoding(root.at("model")),
        normalizer(root.find("normalizer")),
        added(root.find("added_tokens"), encoding.vocabulary(), normalizer),
        pre_tokenizer(root.find("pre_tokenizer")),
        decoder(root.find("decoder")),
        post_processor(root.find("post_processor"), vocab_size()) {}

  int64_t vocab_size() const {
    return int64_t{std::max(encoding.vocabulary().largest_id(),
                            added.largest_id())} +
           1;
  }

  // Appends the ids of text without added tokens that are looked for raw.
  void encode_between(std::string_view text, bool at_start,
                      const std::string& source,
                      std::vector<int32_t>& ids) const;

  BytePairEncoding encoding;
  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  Decoder decoder;
  PostProcessor post_processor;
};

void Tokenizer::State::encode_between(std::string_view text, bool at_start,
                                      const std::string& source,
                                      std::vector<int32_t>& ids) const {
  const std::string normal = normalizer.apply(text);
  for (const TextPart& part : added.split(normal, true)) {
    if (part.id) {
      ids.push_back(*part.id);
      continue;
    }
    const auto between =
        std::string_view(normal).substr(part.begin, part.end - part.begin);
    pre_tokenizer.split(
        between, at_start && part.begin == 0, source,
        [&](std::string_view piece) { encoding.encode(piece, source, ids); });
  }
}

Tokenizer::Tokenizer(std::unique_ptr<const State> state)
    : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::error_code ignored;  // whatever is wrong, opening the file says it
  const std::filesystem::path file =
      std::filesystem::is_directory(path, ignored) ? path / "tokenizer.json"
                                                   : path;
  const JsonDocument document = JsonDocument::read(file, kTokenizerLimits);
  return Tokenizer(std::make_unique<const State>(document.root()));
}

Tokenizer Tokenizer::parse(std::string_view text, const std::string& source) {
  const JsonDocument document =
      JsonDocument::parse(text, source, kTokenizerLimits);
  return Tokenizer(std::make_unique<const State>(document.root()));
}

std::vector<int32_t> Tokenizer::encode(std::string_view utf8,
                                       bool add_special_tokens,
                                       const std::string& source) const {
  if (const auto invalid = first_invalid_utf8(utf8)) {
    throw InputError(
        fmt::format("{}:{}", source, line_and_column(utf8, *invalid)),
        fmt::format("expected UTF-8, found {}",
                    printable(utf8.substr(*invalid, 1))));
  }
  std::vector<int32_t> ids;
  const PostProcessor& around = state_->post_processor;
  if (add_special_tokens) ids = around.before;
  for (const TextPart& part : state_->added.split(utf8, false)) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      state_->encode_between(utf8.substr(part.begin, part.end - part.begin),
                             part.begin == 0, source, ids);
    }
  }
  if (add_special_tokens) {
    ids.insert(ids.end(), around.after.begin(), around.after.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    const AddedToken* added = state_->added.find(id);
    const auto plain = state_->encoding.vocabulary().token(id);
    if (added == nullptr && !plain) {
      throw InputError("token ids",
                       fmt::format("expected ids of the vocabulary of {}, "
                                   "found {}",
                                   vocab_size(), id));
    }
    if (added != nullptr && added->special) continue;
    tokens.emplace_back(added != nullptr ? std::string_view(added->content)
                                         : *plain);
  }
  return state_->decoder.decode(std::move(tokens));
}

int64_t Tokenizer::vocab_size() const { return state_->vocab_size(); }

}  // namespace wush
