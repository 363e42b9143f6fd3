// tokenizer.json files that are refused, and what the refusal says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/support/error.h"
#include "lib/text/known_regex.h"
#include "lib/text/tokenizer.h"
#include "tests/child_process.h"
#include "tests/lib/text/small_tokenizers.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using nlohmann::json;
using testing::byte_level_tokenizer;
using ::testing::HasSubstr;
using testing::message_of;
using testing::sentence_piece_tokenizer;
using ::testing::StartsWith;

struct Refused {
  std::string name;
  std::function<void(json&)> change;
  std::string pointer;
  std::string expected;
  std::string found;
  bool sentence_piece = false;
};

std::ostream& operator<<(std::ostream& out, const Refused& c) {
  return out << c.name;
}

class TokenizerRefused : public ::testing::TestWithParam<Refused> {};

TEST_P(TokenizerRefused, NamesPointerExpectedAndFound) {
  json tokenizer = GetParam().sentence_piece ? sentence_piece_tokenizer()
                                             : byte_level_tokenizer();
  ASSERT_NO_THROW(Tokenizer::parse(tokenizer.dump(), "tokenizer.json"));
  GetParam().change(tokenizer);
  const auto start = std::chrono::steady_clock::now();
  const std::string message = message_of<InputError>(
      [&] { Tokenizer::parse(tokenizer.dump(), "tokenizer.json"); });
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  EXPECT_THAT(message,
              StartsWith("tokenizer.json#" + GetParam().pointer + ": "));
  EXPECT_THAT(message, HasSubstr("expected " + GetParam().expected));
  EXPECT_THAT(message, HasSubstr("found " + GetParam().found));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(time.count(), 2.0);
}

// Sets the value at a JSON pointer.
Refused with(std::string name, const std::string& pointer, json value,
             std::string expected, std::string found,
             std::string place = "same") {
  return {std::move(name),
          [pointer, value](json& tokenizer) {
            tokenizer[json::json_pointer(pointer)] = value;
          },
          place == "same" ? pointer : place, std::move(expected),
          std::move(found)};
}

// Removes the value at a JSON pointer.
Refused without(std::string name, const std::string& parent,
                const std::string& key, std::string expected,
                std::string found) {
  return {std::move(name),
          [parent, key](json& tokenizer) {
            tokenizer[json::json_pointer(parent)].erase(key);
          },
          parent, std::move(expected), std::move(found)};
}

Refused in_sentence_piece(Refused refused) {
  refused.sentence_piece = true;
  return refused;
}

json token(int64_t id, const std::string& content) {
  return {{"id", id}, {"content", content}};
}

INSTANTIATE_TEST_SUITE_P(
    Model, TokenizerRefused,
    ::testing::Values(
        with("other_model", "/model/type", "Unigram", "model \"BPE\"",
             "string \"Unigram\""),
        Refused{"unigram",
                [](json& tokenizer) {
                  tokenizer["model"] = {{"type", "Unigram"},
                                        {"vocab", json::array()}};
                },
                "/model/type", "model \"BPE\"", "string \"Unigram\""},
        with("dropout", "/model/dropout", 0.1, "null", "number 0.1"),
        with("subword_prefix", "/model/continuing_subword_prefix", "##", "null",
             "string \"##\""),
        with("word_suffix", "/model/end_of_word_suffix", "</w>", "null",
             "string \"</w>\""),
        with("vocabulary_empty", "/model/vocab", json::object(),
             "at least one token", "object"),
        with("id_2_31", "/model/vocab/ab", int64_t{1} << 31,
             "integer from 0 to 1048575", "2147483648"),
        with("id_negative", "/model/vocab/ab", -1, "integer from 0", "-1"),
        with("id_float", "/model/vocab/ab", 256.0, "integer", "number 256"),
        with("id_string", "/model/vocab/ab", "256", "integer", "string"),
        with("id_twice", "/model/vocab/bc", 256, "each id once", "256"),
        with("merge_left_absent", "/model/merges/1", "q\u00e9 c",
             "tokens of the vocabulary", "\"q\u00e9\""),
        with("merge_right_absent", "/model/merges/1", "b zz",
             "tokens of the vocabulary", "\"zz\""),
        with("merge_result_absent", "/model/merges/1", "a c",
             "tokens of the vocabulary", "\"ac\""),
        with("merge_of_one", "/model/merges/0", "ab", "two tokens",
             "string \"ab\""),
        with("merge_of_three", "/model/merges/0", "a b c", "two tokens",
             "string \"a b c\""),
        with("merge_array_of_three", "/model/merges/0", {"a", "b", "c"},
             "two tokens", "array of 3"),
        with("merge_number", "/model/merges/0", 7, "string", "7"),
        with("merges_object", "/model/merges", json::object(), "array",
             "object"),
        with("unknown_token_absent", "/model/unk_token", "<unk>",
             "a token of the vocabulary", "string \"<unk>\""),
        with("flag_number", "/model/ignore_merges", 1, "boolean", "1"),
        in_sentence_piece(without("byte_token_absent", "/model/vocab", "<0x7F>",
                                  "all 256 byte tokens", "no <0x7F>")),
        without("no_model", "", "model", "key \"model\"", "none"),
        without("no_merges", "/model", "merges", "key \"merges\"", "none")),
    [](const auto& each) { return each.param.name; });

json split(const std::string& pattern,
           const std::string& behavior = "Isolated") {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", behavior},
          {"invert", false}};
}

json nested_sequence(int depth) {
  json step = {{"type", "NFC"}};
  for (int i = 0; i < depth; ++i) {
    step = {{"type", "Sequence"}, {"normalizers", json::array({step})}};
  }
  return step;
}

json template_of(json single) {
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {260}}}}}}};
}

INSTANTIATE_TEST_SUITE_P(
    Pipeline, TokenizerRefused,
    ::testing::Values(
        with("normalizer", "/normalizer", {{"type", "Lowercase"}},
             "normalizer Sequence, NFC, Prepend or Replace",
             "string \"Lowercase\"", "/normalizer/type"),
        with("normalizer_regex", "/normalizer",
             {{"type", "Replace"},
              {"pattern", {{"Regex", "(a+)+$"}}},
              {"content", "\u2581"}},
             "{\"String\": \" \"}", "object", "/normalizer/pattern"),
        with("normalizer_prepend", "/normalizer",
             {{"type", "Prepend"}, {"prepend", "x"}}, "U+2581", "string \"x\"",
             "/normalizer/prepend"),
        with("normalizer_deep", "/normalizer", nested_sequence(20),
             "at most 16 nested", "more",
             "/normalizer/normalizers/0/normalizers/0/normalizers/0/"
             "normalizers/0/normalizers/0/normalizers/0/normalizers/0/"
             "normalizers"),
        with("pre_tokenizer", "/pre_tokenizer", {{"type", "Whitespace"}},
             "pre-tokenizer Sequence, Split, ByteLevel or Metaspace",
             "string \"Whitespace\"", "/pre_tokenizer/type"),
        with("unknown_regex", "/pre_tokenizer", split("(a+)+$"),
             "the regex of Llama 3, Qwen or GPT-2", "string \"(a+)+$\"",
             "/pre_tokenizer/pattern/Regex"),
        with("split_behavior", "/pre_tokenizer",
             split(std::string(kGpt2Pattern), "Removed"),
             "behavior \"Isolated\"", "string \"Removed\"",
             "/pre_tokenizer/behavior"),
        with("two_byte_levels", "/pre_tokenizer",
             {{"type", "Sequence"},
              {"pretokenizers",
               {byte_level_tokenizer()["pre_tokenizer"],
                byte_level_tokenizer()["pre_tokenizer"]}}},
             "one ByteLevel", "object", "/pre_tokenizer/pretokenizers/1"),
        with("metaspace_mark", "/pre_tokenizer",
             {{"type", "Metaspace"}, {"replacement", "_"}}, "U+2581",
             "string \"_\"", "/pre_tokenizer/replacement"),
        with("metaspace_scheme", "/pre_tokenizer",
             {{"type", "Metaspace"},
              {"replacement", "\u2581"},
              {"prepend_scheme", "last"}},
             "always, first or never", "string \"last\"",
             "/pre_tokenizer/prepend_scheme"),
        with("post_processor", "/post_processor", {{"type", "BertProcessing"}},
             "post-processor Sequence, TemplateProcessing or ByteLevel",
             "string \"BertProcessing\"", "/post_processor/type"),
        with("template_without_text", "/post_processor",
             template_of(json::array()), "a template with sequence \"A\"",
             "array of 0", "/post_processor/single"),
        with("template_token_undefined", "/post_processor",
             template_of({{{"SpecialToken", {{"id", "<x>"}}}}}), "key \"<x>\"",
             "none", "/post_processor/special_tokens"),
        with("template_id_beyond", "/post_processor",
             template_of({{{"SpecialToken", {{"id", "<s>"}}}}}),
             "integer from 0 to 259", "260",
             "/post_processor/special_tokens/<s>/ids/0"),
        with("template_of_pairs", "/post_processor",
             template_of({{{"Sequence", {{"id", "B"}}}}}),
             "sequence \"A\" once", "string \"B\"",
             "/post_processor/single/0/Sequence/id"),
        with("decoder", "/decoder", {{"type", "CTC"}}, "decoder Sequence",
             "string \"CTC\"", "/decoder/type"),
        with("decoder_strip", "/decoder",
             {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}},
             "integer from 0", "-1", "/decoder/start"),
        with("added_id_differs", "/added_tokens",
             json::array({token(300, "<t>")}), "id 260 for \"<t>\"", "300",
             "/added_tokens/0/id"),
        with("added_id_of_vocabulary", "/added_tokens",
             json::array({token(260, "ab")}), "id 256 for \"ab\"", "260",
             "/added_tokens/0/id"),
        with("added_id_2_31", "/added_tokens",
             json::array({token(2147483648, "<t>")}), "integer from 0",
             "2147483648", "/added_tokens/0/id"),
        with("added_empty", "/added_tokens", json::array({token(260, "")}),
             "a token of 1 to 1024 bytes", "string \"\"",
             "/added_tokens/0/content"),
        with("added_twice", "/added_tokens",
             {token(260, "<t>"), token(261, "<t>")}, "each added token once",
             "string \"<t>\"", "/added_tokens/1/content"),
        with("added_object", "/added_tokens", json::object(), "array",
             "object")),
    [](const auto& each) { return each.param.name; });

TEST(TokenizerText, EveryTruncationIsRefused) {
  // The 256 bytes make the file long; every length over the last kilobyte and
  // every seventh before it.
  const std::string text = sentence_piece_tokenizer().dump();
  ASSERT_NO_THROW(Tokenizer::parse(text, "tokenizer.json"));
  for (size_t length = 0; length < text.size();
       length += length + 1024 < text.size() ? 7 : 1) {
    EXPECT_THROW(Tokenizer::parse(text.substr(0, length), "tokenizer.json"),
                 InputError)
        << length;
  }
}

TEST(TokenizerText, InvalidUtf8InTheFile) {
  std::string text = byte_level_tokenizer().dump(1);
  text[text.find("ByteLevel")] = '\xFF';
  EXPECT_THAT(
      message_of<InputError>([&] { Tokenizer::parse(text, "tokenizer.json"); }),
      HasSubstr("expected UTF-8, found \\xFF"));
}

TEST(TokenizerText, InvalidUtf8ToEncode) {
  const Tokenizer tokenizer =
      Tokenizer::parse(byte_level_tokenizer().dump(), "tokenizer.json");
  EXPECT_EQ(message_of<InputError>([&] { tokenizer.encode("a\nb\xC3"); }),
            "text:2:2: expected UTF-8, found \\xC3");
}

TEST(TokenizerText, FolderWithoutTokenizer) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(message_of<InputError>([&] { Tokenizer::load(folder.path()); }),
            (folder / "tokenizer.json").string() +
                ": expected a readable file, found \"No such file or "
                "directory\"");
}

}  // namespace
}  // namespace wush
