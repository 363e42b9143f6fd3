#include "lib/text/corpus.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

// Makes every CR LF and CR an LF; returns how many there were.
int64_t convert_line_ends(std::string& text) {
  int64_t converted = 0;
  std::size_t out = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      text[out++] = text[i];
      continue;
    }
    ++converted;
    text[out++] = '\n';
    if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
  }
  text.resize(out);
  return converted;
}

}  // namespace

Text read_text(const std::filesystem::path& path) {
  Text text;
  text.name = printable(path.string(), 4096);
  std::string& content = text.content;
  content = read_input_file(path, kMaxTextBytes);
  if (content.empty()) {
    throw InputError(text.name, "expected text, found nothing");
  }
  if (const auto invalid = first_invalid_utf8(content)) {
    throw InputError(
        fmt::format("{}:{}", text.name, line_and_column(content, *invalid)),
        fmt::format("expected UTF-8, found {}",
                    printable(std::string_view(content).substr(*invalid, 1))));
  }
  text.converted_line_ends = convert_line_ends(content);
  return text;
}

std::vector<int32_t> tokenize_text(const Tokenizer& tokenizer, const Text& text,
                                   int64_t vocab_size) {
  std::vector<int32_t> tokens = tokenizer.encode(text.content, true, text.name);
  const auto beyond =
      std::find_if(tokens.begin(), tokens.end(),
                   [vocab_size](int32_t id) { return id >= vocab_size; });
  if (beyond != tokens.end()) {
    throw InputError(
        text.name,
        fmt::format(
            "expected token ids below {}, the model's vocab_size, found "
            "{} at token {}",
            vocab_size, *beyond, std::distance(tokens.begin(), beyond)));
  }
  return tokens;
}

std::vector<std::vector<int32_t>> cut_windows(
    const std::vector<int32_t>& tokens, int64_t length, int64_t max_windows,
    const std::string& source) {
  WUSH_CHECK(length > 0 && max_windows >= 0, "{} windows of {} tokens",
             max_windows, length);
  const auto available = static_cast<int64_t>(tokens.size()) / length;
  const int64_t wanted = std::max<int64_t>(max_windows, 1);
  if (available < wanted) {
    throw InputError(
        source,
        fmt::format("expected text for {} windows of {} tokens, found {} "
                    "tokens, which fill {}",
                    wanted, length, tokens.size(), available));
  }
  const int64_t count = max_windows == 0 ? available : max_windows;
  std::vector<std::vector<int32_t>> windows;
  windows.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const auto begin = tokens.begin() + i * length;
    windows.emplace_back(begin, begin + length);
  }
  return windows;
}

}  // namespace wush
