// tokenizer.json of Hugging Face: byte-pair encodings of both families.
//
// - byte-level (Llama 3, Qwen, GPT-2): text is cut by one of the published
//   regexes, and the bytes of each piece are merged;
// - SentencePiece-style (Llama 2, Mistral): spaces become U+2581 and the whole
//   text is merged at once, with single bytes for what the vocabulary lacks.
//
// Ids equal those of the `tokenizers` library. What is not known (another
// regex, normalizer, pre-tokenizer, post-processor, decoder) is refused by
// name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wush {

class Tokenizer {
 public:
  // A tokenizer.json, or a directory that holds one.
  // Errors: InputError("tokenizer.json#/json/pointer: expected ..., found
  // ...").
  static Tokenizer load(const std::filesystem::path& path);

  // The same from the text of a tokenizer.json; `source` names it in messages.
  static Tokenizer parse(std::string_view text, const std::string& source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Token ids of a text; O(n log n) in its length. `add_special_tokens` applies
  // the template of the post-processor (a leading BOS, for example); `source`
  // names the text in messages. Errors: InputError when the text is not UTF-8
  // or holds what the vocabulary cannot express.
  std::vector<int32_t> encode(std::string_view utf8,
                              bool add_special_tokens = true,
                              const std::string& source = "text") const;

  // The text of token ids, special tokens left out; invalid UTF-8 becomes
  // U+FFFD. Errors: InputError for an id without a token.
  std::string decode(std::span<const int32_t> ids) const;

  // One more than the largest id, added tokens included.
  int64_t vocab_size() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace wush
