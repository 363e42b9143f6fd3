#include "lib/text/corpus.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/unicode.h"

namespace wush {

std::string read_text(const std::filesystem::path& path) {
  std::string text = read_input_file(path, kMaxTextBytes);
  const std::string name = printable(path.string(), 4096);
  if (text.empty()) throw InputError(name, "expected text, found nothing");
  if (const auto invalid = first_invalid_utf8(text)) {
    throw InputError(
        fmt::format("{}:{}", name, line_and_column(text, *invalid)),
        fmt::format("expected UTF-8, found {}",
                    printable(std::string_view(text).substr(*invalid, 1))));
  }
  return text;
}

std::vector<int32_t> tokenize_text(const Tokenizer& tokenizer,
                                   const std::filesystem::path& path,
                                   int64_t vocab_size) {
  const std::string name = printable(path.string(), 4096);
  std::vector<int32_t> tokens = tokenizer.encode(read_text(path), true, name);
  const auto beyond =
      std::find_if(tokens.begin(), tokens.end(),
                   [vocab_size](int32_t id) { return id >= vocab_size; });
  if (beyond != tokens.end()) {
    throw InputError(
        name, fmt::format(
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
