// Strict JSON: what is read, and how malformed text is refused.
#include "lib/support/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "lib/support/error.h"
#include "tests/child_process.h"

namespace wush {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;

JsonDocument parse(const std::string& text) {
  return JsonDocument::parse(text, "file");
}

TEST(Json, ValuesOfEveryKind) {
  const JsonDocument document = parse(
      R"({"n": null, "t": true, "i": -7, "f": 2.5e-1, "s": "a\u00e9\ud83d\ude42",
          "a": [1, [2], {}], "o": {"k": 18446744073709551615}})");
  const JsonValue root = document.root();
  EXPECT_TRUE(root.at("n").is_null());
  EXPECT_TRUE(root.at("t").boolean());
  EXPECT_EQ(root.at("i").integer(), -7);
  EXPECT_EQ(root.at("i").number(), -7.0);
  EXPECT_EQ(root.at("f").number(), 0.25);
  EXPECT_EQ(root.at("s").string(), "a\u00e9\U0001F642");
  EXPECT_EQ(root.at("o").at("k").unsigned_integer(), ~uint64_t{0});
  const std::vector<JsonValue> elements = root.at("a").elements();
  ASSERT_EQ(elements.size(), 3u);
  EXPECT_EQ(elements[1].elements()[0].integer(), 2);
  EXPECT_EQ(elements[2].size(), 0u);
  EXPECT_FALSE(root.find("x").has_value());
  EXPECT_FALSE(root.find_non_null("n").has_value());
  EXPECT_EQ(root.size(), 7u);
}

TEST(Json, MembersKeepTheOrderOfTheFile) {
  const JsonDocument document = parse(R"({"b": 1, "a": {"z": 0}, "c": 3})");
  std::vector<std::string> keys;
  for (const auto& [key, value] : document.root().members()) {
    keys.emplace_back(key);
  }
  EXPECT_THAT(keys, ElementsAre("b", "a", "c"));
}

TEST(Json, ViewsSurviveMovingTheDocument) {
  JsonDocument first =
      parse(R"({"key": "a string that is not stored inline"})");
  const JsonValue value = first.root().at("key");
  const JsonDocument second = std::move(first);
  EXPECT_EQ(value.string(), "a string that is not stored inline");
}

TEST(Json, ExtremeNumbers) {
  const JsonDocument document = parse(
      "[9223372036854775807, -9223372036854775808, 9223372036854775808,"
      " 9007199254740992, 9007199254740993, 1e308, 4e-324, 1e-999]");
  const auto e = document.root().elements();
  EXPECT_EQ(e[0].integer(), INT64_MAX);
  EXPECT_EQ(e[1].integer(), INT64_MIN);
  EXPECT_EQ(e[2].unsigned_integer(), uint64_t{1} << 63);
  EXPECT_THAT(message_of<InputError>([&] { e[2].integer(); }),
              StartsWith("file#/2: expected integer below 2^63, found 922"));
  EXPECT_EQ(e[3].number(), 9007199254740992.0);
  EXPECT_THAT(message_of<InputError>([&] { e[4].number(); }),
              HasSubstr("a double holds exactly, found 9007199254740993"));
  EXPECT_EQ(e[5].number(), 1e308);
  EXPECT_GT(e[6].number(), 0.0);
  EXPECT_EQ(e[7].number(), 0.0);
  EXPECT_THAT(message_of<InputError>([&] { e[1].unsigned_integer(); }),
              HasSubstr("expected integer of at least 0"));
}

TEST(Json, GettersNameThePlace) {
  const JsonDocument document = parse(R"({"a/b": {"c~d": [0, "x", 1.5]}})");
  const JsonValue list = document.root().at("a/b").at("c~d");
  EXPECT_EQ(message_of<InputError>([&] { list.elements()[1].integer(); }),
            "file#/a~1b/c~0d/1: expected integer, found string \"x\"");
  EXPECT_EQ(message_of<InputError>([&] { list.elements()[2].integer(); }),
            "file#/a~1b/c~0d/2: expected integer, found number 1.5");
  EXPECT_EQ(message_of<InputError>([&] { list.at("k"); }),
            "file#/a~1b/c~0d: expected object, found array of 3");
  EXPECT_EQ(message_of<InputError>([&] { document.root().at("k"); }),
            "file#: expected key \"k\", found none");
  EXPECT_EQ(
      message_of<InputError>([&] { list.elements()[0].integer_in(1, 9); }),
      "file#/a~1b/c~0d/0: expected integer from 1 to 9, found 0");
}

struct Refused {
  std::string name;
  std::string text;
  std::string place;
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const Refused& c) {
  return out << c.name;
}

class JsonRefused : public ::testing::TestWithParam<Refused> {};

TEST_P(JsonRefused, InOneLineWithThePlace) {
  const auto start = std::chrono::steady_clock::now();
  const std::string message =
      message_of<InputError>([&] { parse(GetParam().text); });
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  EXPECT_THAT(message, StartsWith("file" + GetParam().place + ": "));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr("expected "));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 500u);
  EXPECT_LT(time.count(), 2.0);
}

std::string repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    Texts, JsonRefused,
    ::testing::Values(
        Refused{"empty", "", ":1:1", "found end of input"},
        Refused{"blank", " \n ", ":2:2", "found end of input"},
        Refused{"unclosed", "[1,\n 2", ":2:3", "expected ']'"},
        Refused{"trailing_comma", "[1,]", ":1:4", "found ']'"},
        Refused{"two_values", "1 2", ":1:3", "expected end of input"},
        Refused{"comment", "[1] // x", ":1:5", "expected end of input"},
        Refused{"single_quotes", "{'a': 1}", ":1:2", "expected string literal"},
        Refused{"bare_key", "{a: 1}", ":1:2", "expected string literal"},
        Refused{"leading_zero", "[010]", ":1:4", "expected ']'"},
        Refused{"hexadecimal", "[0x10]", ":1:3", "expected ']'"},
        Refused{"plus", "[+1]", ":1:2", "invalid literal"},
        Refused{"nan", "[NaN]", ":1:2", "invalid literal"},
        Refused{"infinity", "[-Infinity]", ":1:3", "digit after '-'"},
        Refused{"overflow", "[1e999]", ":1:6", "within the range of a double"},
        Refused{"integer_2_64", "{\"a\":[18446744073709551616]}", "#/a/0",
                "an integer that fits 64 bits, found 18446744073709551616"},
        Refused{"integer_below", "[-9223372036854775809]", "#/0",
                "an integer that fits 64 bits"},
        Refused{"integer_of_2000_digits", "[" + std::string(2000, '9') + "]",
                ":1:2", "a token of at most 1024 bytes, found 2000"},
        Refused{"duplicate", "{\"a\":{\"k\":1,\"k\":1}}", "#/a",
                "each key once, found \"k\" twice"},
        Refused{"duplicate_spelled_apart", "{\"k\":1,\"\\u006b\":1}", "#",
                "found \"k\" twice"},
        Refused{"lone_surrogate", "[\"\\ud800\"]", ":1:9", "surrogate"},
        Refused{"overlong_utf8", "[\"\xC0\x80\"]", ":1:3",
                "UTF-8, found \\xC0"},
        Refused{"utf8_surrogate", "[\"\xED\xA0\x80\"]", ":1:3", "found \\xED"},
        Refused{"utf8_beyond", "[\"\xF4\x90\x80\x80\"]", ":1:3", "found \\xF4"},
        Refused{"utf8_cut", "[\"\xE2\x82", ":1:3", "found \\xE2"},
        Refused{"byte_order_mark", "\xEF\xBB\xBF[]", ":1:1",
                "found a byte order mark"},
        Refused{"nul_at_the_end", std::string("[]\0x", 4), ":1:3", "\\u0000"},
        Refused{"newline_in_string", "[\"a\nb\"]", ":1:4", "control character"},
        Refused{"deep_arrays", repeated("[", 1000000), "#" + repeated("/0", 32),
                "at most 32 nested arrays and objects"},
        Refused{"deep_objects", repeated("{\"a\":", 200000),
                "#" + repeated("/a", 32),
                "at most 32 nested arrays and objects"},
        Refused{"many_values", "[" + repeated("0,", 1 << 20) + "0]", "",
                "at most 1048576 values, found 1048578"},
        Refused{"long_string", "[\"" + std::string(2 << 20, 'x') + "\"]",
                ":1:2", "a token of at most 1048576 bytes"},
        Refused{"long_blank", "[" + std::string(100000, ' ') + "]", ":1:2",
                "a token of at most 65536 bytes"},
        Refused{"large", std::string(17 << 20, ' '), "",
                "at most 16777216 bytes of JSON"}),
    [](const auto& each) { return each.param.name; });

TEST(Json, EveryTruncationIsRefused) {
  const std::string text =
      R"({"a": [1, -2.5e3, "x\u00e9\\"], "b": {"c": null, "d": [true, false]}})";
  ASSERT_NO_THROW(parse(text));
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_THROW(parse(text.substr(0, length)), InputError) << length;
  }
}

TEST(Json, MessagesStayOnOneLine) {
  const std::string message = message_of<InputError>([] {
    JsonDocument::parse("{\"a\\nb\\u2028\\u0007\": \"x\"}", "fi\nle")
        .root()
        .members()[0]
        .second.integer();
  });
  EXPECT_EQ(message,
            "fi\\u000Ale#/a\\u000Ab\\u2028\\u0007: expected integer, found "
            "string \"x\"");
}

}  // namespace
}  // namespace wush
