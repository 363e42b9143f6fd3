#include "tests/lib/text/small_tokenizers.h"

#include <fmt/format.h>

#include <utility>

#include "lib/text/byte_alphabet.h"

namespace wush::testing {

nlohmann::json byte_level_tokenizer() {
  nlohmann::json tokenizer = nlohmann::json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
                      "trim_offsets": true, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null,
              "continuing_subword_prefix": null, "end_of_word_suffix": null,
              "fuse_unk": false, "byte_fallback": false,
              "ignore_merges": false}})");
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[bytes_to_characters(std::string(1, static_cast<char>(byte)))] = byte;
  }
  vocab["ab"] = 256;
  vocab["bc"] = 257;
  vocab["abc"] = 258;
  vocab["\u0120a"] = 259;
  tokenizer["model"]["vocab"] = vocab;
  tokenizer["model"]["merges"] = {"a b", "b c", "ab c", "\u0120 a"};
  return tokenizer;
}

nlohmann::json sentence_piece_tokenizer() {
  nlohmann::json tokenizer = nlohmann::json::parse(R"({
    "added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "\u2581"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
    "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true,
              "byte_fallback": true}})");
  nlohmann::json vocab;
  vocab["<unk>"] = 0;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[fmt::format("<0x{:02X}>", byte)] = byte + 1;
  }
  int id = 257;
  for (const char* token :
       {"\u2581", "a", "b", "\u2581a", "ab", "\u2581\u2581"}) {
    vocab[token] = id++;
  }
  tokenizer["model"]["vocab"] = vocab;
  for (const auto& [left, right] :
       {std::pair("\u2581", "a"), std::pair("a", "b"),
        std::pair("\u2581", "\u2581")}) {
    tokenizer["model"]["merges"].push_back(
        nlohmann::json::array({left, right}));
  }
  return tokenizer;
}

}  // namespace wush::testing
