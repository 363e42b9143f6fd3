#include "lib/support/unicode.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace wush {
namespace {

TEST(Unicode, EveryScalarValueGoesThereAndBack) {
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    std::string text;
    append_utf8(value, text);
    const CodePoint point = decode_utf8(text, 0);
    ASSERT_EQ(point.value, value);
    ASSERT_EQ(point.length, text.size());
  }
}

// Well-formed sequences counted from table 3-7 of the Unicode standard.
TEST(Unicode, EveryShortSequenceIsJudgedByTheTable) {
  size_t two = 0;
  size_t three = 0;
  for (unsigned first = 0x80; first < 256; ++first) {
    for (unsigned second = 0; second < 256; ++second) {
      std::string text = {static_cast<char>(first), static_cast<char>(second)};
      two += decode_utf8(text, 0).length == 2;
      text += '\x80';
      three += decode_utf8(text, 0).length == 3;
    }
  }
  EXPECT_EQ(two, 30u * 64);              // C2..DF
  EXPECT_EQ(three, 32u + 14 * 64 + 32);  // E0, E1..EC and EE..EF, ED
}

TEST(Unicode, FirstInvalidByteIsFound) {
  EXPECT_EQ(first_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("plain ASCII, twice eight"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("12345678\u00e9\u4e2d\U0001F642"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("12345678\u00e9\xFF"), 10u);
  EXPECT_EQ(first_invalid_utf8("\xE4\xB8"), 0u);
}

TEST(Unicode, ReplacementFollowsMaximalSubparts) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(replace_invalid_utf8("a\xFF"
                                 "b"),
            "a" + r + "b");
  // One for a cut sequence, one each for bytes that start nothing (the example
  // of section 3.9: 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64).
  EXPECT_EQ(replace_invalid_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                                 "b\x80"
                                 "c\x80\xBF"
                                 "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
}

TEST(Unicode, LineAndColumnCountFromOne) {
  EXPECT_EQ(line_and_column("abc", 0), "1:1");
  EXPECT_EQ(line_and_column("a\nbc", 2), "2:1");
  EXPECT_EQ(line_and_column("a\nbc", 4), "2:3");
}

TEST(Unicode, PrintableIsOneShortLine) {
  EXPECT_EQ(printable("a\nb\t\x7F\xC3\xA9\xFF"),
            "a\\u000Ab\\u0009\\u007F\u00e9\\xFF");
  EXPECT_EQ(printable(std::string(100, 'x'), 10), "xxxxxxxxxx...");
}

}  // namespace
}  // namespace wush
