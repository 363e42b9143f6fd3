#include "lib/text/byte_alphabet.h"

#include <array>

#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr size_t kSubstitutes = 68;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<char32_t, 256> characters{};
  std::array<uint8_t, kSubstitutes> substituted{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  size_t substitutes = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (stands_for_itself(byte)) {
      alphabet.characters[byte] = byte;
    } else {
      alphabet.characters[byte] =
          kFirstSubstitute + static_cast<char32_t>(substitutes);
      alphabet.substituted[substitutes++] = static_cast<uint8_t>(byte);
    }
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  std::string out;
  out.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    append_utf8(kAlphabet.characters[static_cast<uint8_t>(byte)], out);
  }
  return out;
}

std::optional<uint8_t> character_to_byte(char32_t character) {
  if (character < 256) {
    if (!stands_for_itself(character)) return std::nullopt;
    return static_cast<uint8_t>(character);
  }
  const size_t index = character - kFirstSubstitute;
  if (index >= kSubstitutes) return std::nullopt;
  return kAlphabet.substituted[index];
}

}  // namespace wush
