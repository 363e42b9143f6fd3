// The YAML that is allowed: what is refused, and where.
#include "lib/experiment/yaml_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lib/support/error.h"

namespace wush {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string error_of(const std::string& text) {
  try {
    parse_yaml(text, "file");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

struct Refused {
  const char* name;
  std::string text;
  std::string place;  // line:column
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const Refused& c) {
  return out << c.name;
}

class YamlRefused : public ::testing::TestWithParam<Refused> {};

TEST_P(YamlRefused, NamesThePlace) {
  const std::string error = error_of(GetParam().text);
  EXPECT_THAT(error, StartsWith("file:" + GetParam().place + ": "));
  EXPECT_THAT(error, HasSubstr(GetParam().message));
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

std::vector<Refused> refused_cases() {
  return {
      {"Anchor", "a: 1\nb: &x 2\n", "2:4", "anchor"},
      {"AnchorOnMapping", "b: &x\n  c: 1\n", "1:4", "anchor"},
      {"AnchorOnList", "b: &x [1]\n", "1:4", "anchor"},
      {"AnchorOnKey", "&x b: 1\n", "1:1", "anchor"},
      {"Alias", "a: *x\n", "1:4", ""},
      {"AliasBomb",
       "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n", "1:4",
       "anchor"},
      {"Tag", "a: !!int 3\n", "1:4", "tag"},
      {"LocalTag", "a: !x 3\n", "1:4", "tag"},
      {"NonSpecificTag", "a: ! 3\n", "1:4", "tag"},
      {"VerbatimTag", "a: !<tag:x> 3\n", "1:4", "tag"},
      {"TagOnMapping", "a: !!map {b: 1}\n", "1:4", "tag"},
      {"TagOnKey", "!!str a: 1\n", "1:1", "tag"},
      {"TagOnNothing", "a: !!null\nb: 1\n", "1:4", "tag"},
      {"DuplicateKey", "a: 1\nb: 2\na: 3\n", "3:1", "'a' again"},
      {"DuplicateKeyInFlow", "m: {a: 1, b: 2, a: 3}\n", "1:17", "'a' again"},
      {"DuplicateKeyQuoted", "a: 1\n\"a\": 2\n", "2:1", "'a' again"},
      {"ListAsKey", "? [1, 2]\n: 3\n", "1:3", "as key"},
      {"MappingAsKey", "{{a: 1}: 2}\n", "1:2", "as key"},
      {"NothingAsKey", ": 3\n", "1:1", "key"},
      {"TwoDocuments", "a: 1\n---\nb: 2\n", "2:1", "one document"},
      {"TwoDocumentsAfterEnd", "a: 1\n...\nb: 2\n", "3:1", "one document"},
      {"YamlDirective", "%YAML 1.2\n---\na: 1\n", "1:1", "directive"},
      {"TagDirective", "# x\n%TAG ! tag:x,\n---\na: 1\n", "2:1", "directive"},
      {"TooDeep", nested(33), "1:33", "32 levels"},
      {"FarTooDeep", nested(100000), "1:33", "32 levels"},
      {"UnclosedList", "a: [1, 2\n", "2:1", "error"},
      {"UnclosedMapping", "a: {b: 1\nc: 2\n", "2:2", "end of map"},
      {"UnclosedQuote", "a: \"b\n", "1:4", "closing quote"},
      {"UnclosedSingleQuote", "a: 'b''\n", "1:4", "closing quote"},
      {"UnclosedEscapedQuote", "a: \"b\\\"\n", "1:4", "closing quote"},
      {"UnknownEscape", "a: \"\\q\"\n", "1:7", "escape"},
      {"TabAsIndentation", "a:\n\t- b\n", "2:2", "error"},
      {"ClosedTwice", "a: [1]]\n", "1:7", ""},
      {"ReservedCharacter", "a: @b\n", "1:4", "error"},
      {"BadIndentation", "a:\n    b: 1\n  c: 2\n", "3:3", "error"},
      {"InvalidUtf8", "a: 1\nb: \xff\n", "2:4", "0xff"},
      {"OverlongUtf8", "a: \xc0\x80\n", "1:4", "UTF-8"},
      {"Surrogate", "a: \xed\xa0\x80\n", "1:4", "UTF-8"},
      {"ColumnsAreCharacters", "ä: \"é\" \x01\n", "1:8", "0x01"},
      {"NulByte", std::string("a: \0b\n", 6), "1:4", "0x00"},
      {"Delete", "a: \x7f\n", "1:4", "0x7f"},
      {"Utf16", std::string("\xff\xfe\x61\x00", 4), "1:1", "UTF-8"},
  };
}

INSTANTIATE_TEST_SUITE_P(All, YamlRefused, ::testing::ValuesIn(refused_cases()),
                         [](const auto& test) {
                           return std::string(test.param.name);
                         });

TEST(YamlDocument, TooLargeIsRefusedByItsSize) {
  const std::string text(kMaxYamlBytes + 1, '#');
  EXPECT_THAT(error_of(text), HasSubstr("bytes"));
}

TEST(YamlDocument, TooManyValues) {
  std::string text = "[";
  for (std::size_t i = 0; i < kMaxYamlNodes; ++i) text += "1,";
  EXPECT_THAT(error_of(text + "1]"), HasSubstr("at most 10000 values"));
}

// The size of the file bounds the time, however it is malformed.
TEST(YamlDocument, HostileRepetitionsEndSoon) {
  for (const std::string unit :
       {"[",    "{",    "- ", "? ", "a: ", "\"", "'", "|", "&a ",  "*",     "!",
        "a: [", "{a: ", "#",  "%",  "\n",  "\t", ":", ",", "- - ", "? a : "}) {
    std::string text;
    while (text.size() + unit.size() <= kMaxYamlBytes) text += unit;
    error_of(text);  // the test's time limit is the assertion
  }
}

TEST(YamlDocument, KeepsOrderKindsAndPlaces) {
  const YamlNode root =
      parse_yaml("b: [1, 'x', ~]\na:\n  c: {}\n  d: \"\\u00e9\"\n", "file");
  ASSERT_EQ(root.kind, YamlNode::Kind::kMapping);
  ASSERT_EQ(root.entries.size(), 2u);
  EXPECT_EQ(root.entries[0].key, "b");
  const YamlNode& list = root.entries[0].value;
  ASSERT_EQ(list.items.size(), 3u);
  EXPECT_EQ(list.items[0].text, "1");
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_TRUE(list.items[1].quoted);
  EXPECT_EQ(list.items[1].place.to_string(), "file:1:8");
  EXPECT_EQ(list.items[2].kind, YamlNode::Kind::kNull);
  const YamlNode* d = root.find("a")->find("d");
  ASSERT_NE(d, nullptr);
  EXPECT_EQ(d->text, "é");
  EXPECT_EQ(d->place.to_string(), "file:4:6");
  EXPECT_EQ(root.find("a")->find("e"), nullptr);
}

TEST(YamlDocument, CommentsByteOrderMarkAndDocumentMarkersAreAllowed) {
  EXPECT_EQ(error_of("\xEF\xBB\xBF# x\n---\na: 1 # y\n...\n"), "accepted");
  EXPECT_EQ(parse_yaml("# nothing\n", "file").kind, YamlNode::Kind::kNull);
}

TEST(YamlDocument, FormattedTextReadsAsTheSameNodes) {
  const std::string text =
      "a: plain\n"
      "b:\n"
      "  c: [1, -2.5e-3, \"with space\", \"null\", \"\", \"-\"]\n"
      "  d: {}\n"
      "e: [{k: \"a\\\"b\\\\c\"}, [x], null]\n"
      "\"odd key:\": \"${VAR}\"\n";
  const std::string once = format_yaml(parse_yaml(text, "file"));
  EXPECT_EQ(once, text);
  EXPECT_EQ(format_yaml(parse_yaml(once, "again")), once);
}

}  // namespace
}  // namespace wush
