// The regular expressions that tokenizers cut text with.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace wush {

// The regex that ByteLevel itself uses (GPT-2).
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Llama 3: numbers in groups of up to three digits.
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Qwen 2 and 3: digits one by one.
inline constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// True for a pattern in the table of published ones.
bool is_known_pattern(std::string_view pattern);

// One of them, run by Oniguruma as in the reference library: RE2 and std::regex
// cannot do `\s+(?!\S)` exactly.
class KnownRegex {
 public:
  // `pattern` is one for which is_known_pattern() holds.
  explicit KnownRegex(std::string_view pattern);
  ~KnownRegex();
  KnownRegex(KnownRegex&&) noexcept;

  // Hands the matches, and what lies between them, to `sink` in order
  // (behavior "Isolated"). The text is valid UTF-8.
  // Errors: InputError(source, ...) when Oniguruma's limits are exceeded.
  void split(std::string_view text, const std::string& source,
             const std::function<void(std::string_view)>& sink) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace wush
