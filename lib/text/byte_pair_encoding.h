// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of one piece of
// text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/json.h"
#include "lib/text/vocabulary.h"

namespace wush {

class BytePairEncoding {
 public:
  // Reads "model" of a tokenizer.json.
  // Errors: InputError naming the pointer: another model type, dropout,
  // affixes, ids out of range or used twice, merges of tokens that are not
  // there.
  explicit BytePairEncoding(const JsonValue& model);

  // Appends the ids of a piece to `out`: the pair of lowest rank is merged
  // first, the leftmost of equals; O(n log n) in the piece's length.
  // Errors: InputError(source, ...) for a character that the vocabulary lacks
  // when there is neither byte fallback nor an unknown token.
  void encode(std::string_view piece, const std::string& source,
              std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Symbol;
  struct Candidate;

  void read_merges(const JsonValue& merges);
  void read_fallbacks(const JsonValue& model);
  int32_t merge_token(const JsonValue& place, std::string_view text) const;
  std::vector<Symbol> split(std::string_view piece,
                            const std::string& source) const;
  void merge(std::vector<Symbol>& symbols) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  std::optional<std::array<int32_t, 256>> byte_tokens_;  // with byte fallback
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace wush
