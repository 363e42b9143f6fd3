// "normalizer" of a tokenizer.json: what is done to text before it is cut.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/json.h"

namespace wush {

// U+2581, which stands for a space in SentencePiece-style vocabularies.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// The text with U+2581 for every space.
std::string mark_spaces(std::string_view text);

// Unicode normalization form C. The text is valid UTF-8.
std::string compose_characters(std::string_view text);

class Normalizer {
 public:
  // Reads NFC, Prepend of U+2581, Replace of " " by U+2581, and sequences of
  // them; nothing and null do nothing. Errors: InputError naming another type.
  explicit Normalizer(const std::optional<JsonValue>& json);

  std::string apply(std::string_view text) const;

 private:
  enum class Step { kCompose, kPrependMark, kMarkSpaces };
  void read(const JsonValue& json);

  std::vector<Step> steps_;
};

}  // namespace wush
