// Parts of the tokenizer that the conformance texts do not reach, on tokenizers
// whose ids are worked out by hand.
#include "lib/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/support/error.h"
#include "lib/text/known_regex.h"
#include "lib/text/normalizer.h"
#include "tests/child_process.h"
#include "tests/lib/text/small_tokenizers.h"

namespace wush {
namespace {

using nlohmann::json;
using testing::byte_level_tokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using testing::sentence_piece_tokenizer;

Tokenizer make(const json& tokenizer) {
  return Tokenizer::parse(tokenizer.dump(), "tokenizer.json");
}

TEST(ByteLevel, LowestRankIsMergedFirst) {
  const Tokenizer tokenizer = make(byte_level_tokenizer());
  EXPECT_THAT(tokenizer.encode("abc"), ElementsAre(258));
  EXPECT_THAT(tokenizer.encode("bcab"), ElementsAre(257, 256));
  // "a b" ranks before "b c", so the second "bc" of "abbc" is what remains.
  EXPECT_THAT(tokenizer.encode("abbc"), ElementsAre(256, 257));
  EXPECT_THAT(tokenizer.encode("b a"), ElementsAre('b', 259));
  EXPECT_THAT(tokenizer.encode(""), IsEmpty());
}

TEST(ByteLevel, LeftmostOfEqualRanksIsMergedFirst) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["model"]["vocab"]["aa"] = 260;
  tokenizer["model"]["merges"] = {"a a"};
  EXPECT_THAT(make(tokenizer).encode("aaa"), ElementsAre(260, 'a'));
}

TEST(ByteLevel, IgnoreMergesTakesWholePieces) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["model"]["vocab"]["cab"] = 260;  // no merge makes it
  EXPECT_THAT(make(tokenizer).encode("cab"), ElementsAre('c', 256));
  tokenizer["model"]["ignore_merges"] = true;
  EXPECT_THAT(make(tokenizer).encode("cab"), ElementsAre(260));
}

TEST(ByteLevel, EveryByteDecodesToItself) {
  const Tokenizer tokenizer = make(byte_level_tokenizer());
  for (const std::string text : {"na\u00efve \U0001F642\n", "\x01\x7F\u00ad"}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  // Half a character becomes U+FFFD.
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{'a', 0xC3}), "a\uFFFD");
}

TEST(ByteLevel, PrefixSpaceUnlessThereIsOne) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_THAT(make(tokenizer).encode("a"), ElementsAre(259));
  EXPECT_THAT(make(tokenizer).encode(" a"), ElementsAre(259));
}

TEST(ByteLevel, NfcComesFirst) {
  json tokenizer = byte_level_tokenizer();
  const std::string decomposed = "e\u0301";
  EXPECT_THAT(make(tokenizer).encode(decomposed), ElementsAre('e', 0xCC, 0x81));
  tokenizer["normalizer"] = {{"type", "NFC"}};
  EXPECT_THAT(make(tokenizer).encode(decomposed), ElementsAre(0xC3, 0xA9));
}

TEST(Nfc, PartsComposeAsTheWhole) {
  // Marks after ASCII, singletons, Hangul, exclusions, reordering of marks.
  EXPECT_EQ(compose_characters("plain"), "plain");
  EXPECT_EQ(compose_characters("xe\u0301y e\u0301"), "x\u00e9y \u00e9");
  EXPECT_EQ(compose_characters("\u212B\u0958"), "\u00C5\u0915\u093C");
  EXPECT_EQ(compose_characters("\u1112\u1161\u11AB"), "\uD55C");
  EXPECT_EQ(compose_characters("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(compose_characters(std::string("e\0\u0301", 4)),
            std::string("e\0\u0301", 4));
}

TEST(SentencePiece, MarksSpacesAndFallsBackToBytes) {
  const Tokenizer tokenizer = make(sentence_piece_tokenizer());
  EXPECT_THAT(tokenizer.encode("a"), ElementsAre(260));
  // U+2581 a ranks first; then "a b" finds no a alone.
  EXPECT_THAT(tokenizer.encode("ab"), ElementsAre(260, 259));
  EXPECT_THAT(tokenizer.encode("  b"), ElementsAre(262, 257, 259));
  EXPECT_THAT(tokenizer.encode("\u00e9"), ElementsAre(257, 0xC3 + 1, 0xA9 + 1));
  EXPECT_THAT(tokenizer.encode(""), IsEmpty());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a b\u00e9")), "a b\u00e9");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{258, 0xC3 + 1}), "a\uFFFD");
}

TEST(SentencePiece, UnknownTokensAreFused) {
  json tokenizer = sentence_piece_tokenizer();
  tokenizer["model"]["byte_fallback"] = false;
  EXPECT_THAT(make(tokenizer).encode("axyb"), ElementsAre(260, 0, 259));
  tokenizer["model"]["fuse_unk"] = false;
  EXPECT_THAT(make(tokenizer).encode("axyb"), ElementsAre(260, 0, 0, 259));
  tokenizer["model"]["unk_token"] = nullptr;
  EXPECT_THAT(message_of<InputError>([&] { make(tokenizer).encode("axyb"); }),
              HasSubstr("expected characters of the vocabulary, found \"x\""));
}

struct MetaspaceCase {
  std::string scheme;
  std::vector<int32_t> with_token;  // of "a<t>a"
};

std::ostream& operator<<(std::ostream& out, const MetaspaceCase& c) {
  return out << c.scheme;
}

class Metaspace : public ::testing::TestWithParam<MetaspaceCase> {};

TEST_P(Metaspace, PrependsByItsScheme) {
  json tokenizer = sentence_piece_tokenizer();
  tokenizer["normalizer"] = nullptr;
  tokenizer["pre_tokenizer"] = {{"type", "Metaspace"},
                                {"replacement", "\u2581"},
                                {"prepend_scheme", GetParam().scheme},
                                {"split", false}};
  tokenizer["added_tokens"] = {{{"id", 263}, {"content", "<t>"}}};
  EXPECT_EQ(make(tokenizer).encode("a<t>a"), GetParam().with_token);
  EXPECT_THAT(make(tokenizer).encode(" a"), ElementsAre(260));
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, Metaspace,
    ::testing::Values(MetaspaceCase{"always", {260, 263, 260}},
                      MetaspaceCase{"first", {260, 263, 258}},
                      MetaspaceCase{"never", {258, 263, 258}}),
    [](const auto& each) { return each.param.scheme; });

TEST(MetaspaceSplit, PiecesBeginAtMarks) {
  json tokenizer = sentence_piece_tokenizer();
  tokenizer["normalizer"] = nullptr;
  tokenizer["pre_tokenizer"] = {{"type", "Metaspace"},
                                {"replacement", "\u2581"},
                                {"prepend_scheme", "never"}};
  // Two marks are two pieces, which are not merged.
  EXPECT_THAT(make(tokenizer).encode("  a"), ElementsAre(257, 260));
}

// Flags of added tokens; "<t>" is 260 in the byte-level tokenizer.
struct FlagCase {
  std::string name;
  json flags;
  std::string text;
  std::vector<int32_t> ids;
};

std::ostream& operator<<(std::ostream& out, const FlagCase& c) {
  return out << c.name;
}

class AddedTokenFlags : public ::testing::TestWithParam<FlagCase> {};

TEST_P(AddedTokenFlags, CutTheText) {
  json tokenizer = byte_level_tokenizer();
  json token = {{"id", 260}, {"content", "<t>"}};
  token.update(GetParam().flags);
  tokenizer["added_tokens"] = json::array({token});
  EXPECT_EQ(make(tokenizer).encode(GetParam().text), GetParam().ids);
}

INSTANTIATE_TEST_SUITE_P(
    Flags, AddedTokenFlags,
    ::testing::Values(
        FlagCase{"plain", json::object(), "c <t> c", {'c', ' ', 260, ' ', 'c'}},
        FlagCase{"twice", json::object(), "<t><t>", {260, 260}},
        FlagCase{"lstrip",
                 {{"lstrip", true}},
                 "c \u00a0<t> c",
                 {'c', 260, ' ', 'c'}},
        FlagCase{
            "rstrip", {{"rstrip", true}}, "c <t> \n c", {'c', ' ', 260, 'c'}},
        FlagCase{"both_share_the_space",
                 {{"lstrip", true}, {"rstrip", true}},
                 "<t>  <t>",
                 {260, 260}},
        FlagCase{"single_word",
                 {{"single_word", true}},
                 "<t>c <t>",
                 {'<', 't', '>', 'c', ' ', 260}},
        FlagCase{"single_word_in_marks",
                 {{"single_word", true}},
                 "(<t>)",
                 {'(', 260, ')'}}),
    [](const auto& each) { return each.param.name; });

TEST(AddedTokens, TheLongestMatchWins) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["added_tokens"] = {{{"id", 260}, {"content", "<t"}},
                               {{"id", 261}, {"content", "<t>>"}},
                               {{"id", 262}, {"content", "t>"}}};
  EXPECT_THAT(make(tokenizer).encode("<t>>"), ElementsAre(261));
  EXPECT_THAT(make(tokenizer).encode("<t>c"), ElementsAre(260, '>', 'c'));
  EXPECT_THAT(make(tokenizer).encode("at>"), ElementsAre('a', 262));
}

TEST(AddedTokens, NormalizedOnesAreLookedForInNormalizedText) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["normalizer"] = {{"type", "NFC"}};
  json token = {{"id", 260}, {"content", "\u00e9!"}, {"normalized", true}};
  tokenizer["added_tokens"] = json::array({token});
  EXPECT_THAT(make(tokenizer).encode("e\u0301!"), ElementsAre(260));
  token["normalized"] = false;
  tokenizer["added_tokens"] = json::array({token});
  EXPECT_THAT(make(tokenizer).encode("e\u0301!"), ElementsAre(0xC3, 0xA9, '!'));
}

TEST(PostProcessor, SurroundsTheText) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["added_tokens"] = {
      {{"id", 260}, {"content", "<s>"}, {"special", true}},
      {{"id", 261}, {"content", "</s>"}, {"special", true}}};
  const auto special = [](const char* name) {
    return json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
  };
  const json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  tokenizer["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single", {special("<s>"), sequence, special("</s>")}},
         {"special_tokens",
          {{"<s>", {{"id", "<s>"}, {"ids", {260}}}},
           {"</s>", {{"id", "</s>"}, {"ids", {261, 261}}}}}}}}}};
  const Tokenizer made = make(tokenizer);
  EXPECT_THAT(made.encode("c"), ElementsAre(260, 'c', 261, 261));
  EXPECT_THAT(made.encode("c", false), ElementsAre('c'));
  EXPECT_THAT(made.encode(""), ElementsAre(260, 261, 261));
  EXPECT_EQ(made.decode(made.encode("c")), "c");
  EXPECT_EQ(made.vocab_size(), 262);
  EXPECT_THAT(
      message_of<InputError>([&] { made.decode(std::vector<int32_t>{262}); }),
      HasSubstr("expected ids of the vocabulary of 262, found 262"));
}

TEST(Decoder, MetaspaceDropsTheFirstMark) {
  json tokenizer = sentence_piece_tokenizer();
  tokenizer["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
  const std::vector<int32_t> ids = {260, 259, 257, 260};
  EXPECT_EQ(make(tokenizer).decode(ids), "ab  a");
  tokenizer["decoder"]["prepend_scheme"] = "never";
  EXPECT_EQ(make(tokenizer).decode(ids), " ab  a");
}

TEST(Decoder, StripsBothEnds) {
  json tokenizer = sentence_piece_tokenizer();
  tokenizer["decoder"]["decoders"][3]["stop"] = 1;
  EXPECT_EQ(make(tokenizer).decode(std::vector<int32_t>{262, 258, 257, 257}),
            " a ");
}

TEST(Decoder, WithoutOneTokensAreJoinedBySpaces) {
  json tokenizer = byte_level_tokenizer();
  tokenizer["decoder"] = nullptr;
  EXPECT_EQ(make(tokenizer).decode(std::vector<int32_t>{256, 'c'}), "ab c");
}

TEST(KnownRegex, CutsAreThePublishedOnes) {
  std::vector<std::string> pieces;
  KnownRegex(kGpt2Pattern)
      .split("I'll go  to 1234\n\n x!?\t", "text",
             [&](std::string_view piece) { pieces.emplace_back(piece); });
  EXPECT_THAT(pieces, ElementsAre("I", "'ll", " go", " ", " to", " 1234",
                                  "\n\n", " x", "!?", "\t"));
}

// A piece of a million symbols, where anything quadratic would take minutes.
TEST(LongPiece, MergesInNLogN) {
  const Tokenizer tokenizer = make(sentence_piece_tokenizer());
  std::string text;
  while (text.size() < 1000000) text += "ab  ";
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  // Per "ab  ": U+2581 a, b, and the mark that the next "a" leaves over; at the
  // end both marks as one token.
  EXPECT_EQ(ids.size(), 750000u);
  EXPECT_LT(time.count(), 30.0);
}

}  // namespace
}  // namespace wush
