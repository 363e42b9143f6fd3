// UTF-8: checking it, mending it for display, and quoting bytes of strangers in
// messages.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace wush {

// One decoded code point and the bytes it took; length 0 marks bytes that are
// not UTF-8 (overlong forms, surrogates and values above U+10FFFF included).
struct CodePoint {
  char32_t value = 0;
  size_t length = 0;
};

// Decodes the code point that starts at text[position]; position < text.size().
CodePoint decode_utf8(std::string_view text, size_t position);

// Appends the UTF-8 form of a scalar value (not a surrogate, at most U+10FFFF).
void append_utf8(char32_t value, std::string& out);

// Offset of the first byte that is not part of valid UTF-8, if there is one.
std::optional<size_t> first_invalid_utf8(std::string_view text);

// "line:column" of a byte of the text, both counted from 1, columns in bytes.
std::string line_and_column(std::string_view text, size_t offset);

// The text with every maximal invalid sequence replaced by U+FFFD, as the
// Unicode standard recommends (section 3.9) and Rust's from_utf8_lossy does.
std::string replace_invalid_utf8(std::string_view text);

// The text fit for one line of a message: control characters, line separators
// and invalid bytes escaped, cut after `limit` bytes with "..." at the end.
std::string printable(std::string_view text, size_t limit = 80);

}  // namespace wush
