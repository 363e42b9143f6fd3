// Texts, encoded by a tokenizer of each kind; the first byte picks it.
// Byte-level and byte-fallback encodings lose nothing, so decoding gives the
// text back.
#include <array>
#include <nlohmann/json.hpp>

#include "lib/support/unicode.h"
#include "lib/text/known_regex.h"
#include "lib/text/normalizer.h"
#include "lib/text/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/lib/text/small_tokenizers.h"

namespace wush {
namespace {

Tokenizer make(const nlohmann::json& tokenizer) {
  return Tokenizer::parse(tokenizer.dump(), "tokenizer.json");
}

Tokenizer with_pattern(std::string_view pattern) {
  nlohmann::json tokenizer = testing::byte_level_tokenizer();
  nlohmann::json bytes = tokenizer["pre_tokenizer"];
  bytes["use_regex"] = false;
  const nlohmann::json split = {{"type", "Split"},
                                {"pattern", {{"Regex", pattern}}},
                                {"behavior", "Isolated"}};
  tokenizer["pre_tokenizer"] = {{"type", "Sequence"},
                                {"pretokenizers", {split, bytes}}};
  return make(tokenizer);
}

Tokenizer with_added_token() {
  nlohmann::json tokenizer = testing::byte_level_tokenizer();
  tokenizer["added_tokens"] = {{{"id", 260}, {"content", "<t>"}},
                               {{"id", 261},
                                {"content", "a>"},
                                {"single_word", true},
                                {"normalized", true}}};
  return make(tokenizer);
}

// Those that keep every byte, then NFC and strip flags, which do not.
constexpr size_t kLossless = 5;

const std::array<Tokenizer, 7>& tokenizers() {
  static const std::array<Tokenizer, 7> all = [] {
    nlohmann::json composed = testing::byte_level_tokenizer();
    composed["normalizer"] = {{"type", "NFC"}};
    nlohmann::json stripping = testing::byte_level_tokenizer();
    stripping["added_tokens"] = {
        {{"id", 260}, {"content", "<t>"}, {"lstrip", true}, {"rstrip", true}}};
    return std::array<Tokenizer, 7>{with_pattern(kGpt2Pattern),
                                    with_pattern(kLlama3Pattern),
                                    with_pattern(kQwenPattern),
                                    with_added_token(),
                                    make(testing::sentence_piece_tokenizer()),
                                    make(composed),
                                    make(stripping)};
  }();
  return all;
}

void check(size_t which, std::string_view text) {
  const Tokenizer& tokenizer = tokenizers()[which];
  const std::vector<int32_t> ids = tokenizer.encode(text);
  for (const int32_t id : ids) {
    WUSH_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {}", id);
  }
  const std::string decoded = tokenizer.decode(ids);
  // U+2581 itself cannot be told from a space.
  if (which < kLossless && text.find(kSpaceMark) == std::string_view::npos) {
    WUSH_CHECK(decoded == text, "\"{}\" became \"{}\"", text, decoded);
  }
}

}  // namespace
}  // namespace wush

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t which = data[0] % wush::tokenizers().size();
  const std::string_view text = wush::testing::as_text(data + 1, size - 1);
  wush::testing::parse_or_refuse([&] { wush::check(which, text); });
  // Bytes that are not UTF-8 are refused above; mended, they are a text too.
  wush::testing::parse_or_refuse(
      [&] { wush::check(which, wush::replace_invalid_utf8(text)); });
  return 0;
}
