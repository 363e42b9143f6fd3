#include "lib/support/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace wush {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

uint8_t byte_at(std::string_view text, size_t position) {
  return static_cast<uint8_t>(text[position]);
}

// The second byte's range depends on the first: it excludes overlong forms,
// surrogates and values above U+10FFFF (Unicode, table 3-7).
struct SequenceRule {
  size_t length;  // 0: no sequence starts with this byte
  uint8_t second_low;
  uint8_t second_high;
};

SequenceRule sequence_rule(uint8_t first) {
  if (first >= 0xC2 && first <= 0xDF) return {2, 0x80, 0xBF};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first >= 0xE1 && first <= 0xEF) return {3, 0x80, 0xBF};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first >= 0xF1 && first <= 0xF3) return {4, 0x80, 0xBF};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Bytes from `position` that begin a valid sequence, at least 1: the whole of
// it when it is valid, else the part that one U+FFFD stands for.
size_t matched_prefix(std::string_view text, size_t position,
                      const SequenceRule& rule) {
  size_t matched = 1;
  while (matched < rule.length && position + matched < text.size()) {
    const uint8_t byte = byte_at(text, position + matched);
    const uint8_t low = matched == 1 ? rule.second_low : 0x80;
    const uint8_t high = matched == 1 ? rule.second_high : 0xBF;
    if (byte < low || byte > high) break;
    ++matched;
  }
  return matched;
}

// Number of leading ASCII bytes from `position`, eight at a time.
size_t ascii_run(std::string_view text, size_t position) {
  const size_t start = position;
  for (; position + 8 <= text.size(); position += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + position, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (position < text.size() && byte_at(text, position) < 0x80) ++position;
  return position - start;
}

}  // namespace

CodePoint decode_utf8(std::string_view text, size_t position) {
  const uint8_t first = byte_at(text, position);
  if (first < 0x80) return {first, 1};
  const SequenceRule rule = sequence_rule(first);
  if (rule.length == 0 || matched_prefix(text, position, rule) != rule.length)
    return {};
  char32_t value = first & (0xFFu >> (rule.length + 1));
  for (size_t i = 1; i < rule.length; ++i) {
    value = (value << 6) | (byte_at(text, position + i) & 0x3Fu);
  }
  return {value, rule.length};
}

void append_utf8(char32_t value, std::string& out) {
  if (value < 0x80) {
    out += static_cast<char>(value);
    return;
  }
  const int continuation = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
  const unsigned mark = (0xFF00u >> (continuation + 1)) & 0xFFu;
  out += static_cast<char>(mark | (value >> (6 * continuation)));
  for (int i = continuation - 1; i >= 0; --i) {
    out += static_cast<char>(0x80u | ((value >> (6 * i)) & 0x3Fu));
  }
}

std::optional<size_t> first_invalid_utf8(std::string_view text) {
  size_t position = ascii_run(text, 0);
  while (position < text.size()) {
    const CodePoint point = decode_utf8(text, position);
    if (point.length == 0) return position;
    position += point.length;
    position += ascii_run(text, position);
  }
  return std::nullopt;
}

std::string line_and_column(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column =
      newline == std::string_view::npos ? offset + 1 : offset - newline;
  return fmt::format("{}:{}", line, column);
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t length = decode_utf8(text, position).length;
    if (length != 0) {
      out += text.substr(position, length);
      position += length;
    } else {
      out += kReplacement;
      position += matched_prefix(text, position,
                                 sequence_rule(byte_at(text, position)));
    }
  }
  return out;
}

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  for (size_t position = 0; position < text.size();) {
    if (out.size() >= limit) return out + "...";
    const CodePoint point = decode_utf8(text, position);
    const bool control = point.value < 0x20 ||
                         (point.value >= 0x7F && point.value < 0xA0) ||
                         point.value == 0x2028 || point.value == 0x2029;
    if (point.length == 0) {
      out += fmt::format("\\x{:02X}", byte_at(text, position));
      ++position;
      continue;
    }
    if (control) {
      out += fmt::format("\\u{:04X}", static_cast<uint32_t>(point.value));
    } else {
      out += text.substr(position, point.length);
    }
    position += point.length;
  }
  return out;
}

}  // namespace wush
