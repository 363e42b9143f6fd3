// The printable characters that stand for bytes in byte-level vocabularies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wush {

// Every byte of the text as its character (GPT-2's bytes_to_unicode): printable
// Latin-1 as itself, the other 68 bytes as U+0100 and following.
std::string bytes_to_characters(std::string_view bytes);

// The byte that a character stands for, if it stands for one.
std::optional<uint8_t> character_to_byte(char32_t character);

}  // namespace wush
