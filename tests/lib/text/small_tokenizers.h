// Tokenizers small enough to be worked through by hand.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace wush::testing {

// Byte-level: the 256 bytes (ids in the order of their value), then "ab" (256),
// "bc" (257), "abc" (258, from "ab" + "c"), "\u0120a" (259); merges in the
// order "a b", "b c", "ab c", "\u0120 a". Cut by GPT-2's regex.
nlohmann::json byte_level_tokenizer();

// SentencePiece-style, in the manner of Llama 2: <unk>, 256 byte tokens (1 to
// 256), then U+2581 (257), a, b (259), U+2581a (260), ab (261), two U+2581
// (262).
nlohmann::json sentence_piece_tokenizer();

}  // namespace wush::testing
