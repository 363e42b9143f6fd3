// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of one piece of
// text.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/support/json.h"

namespace wush {

// Ids lie below this; far above any vocabulary in use.
inline constexpr int64_t kMaxTokenId = (int64_t{1} << 20) - 1;

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

  std::optional<int32_t> find(std::string_view token) const;
  // The token of an id; null when there is none.
  const std::string* token(int32_t id) const;
  // Number of tokens, which is not the largest id plus one if there are gaps.
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  int32_t largest_id() const {
    return static_cast<int32_t>(tokens_.size()) - 1;
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  struct Merge {
    int32_t rank;
    int32_t id;  // of the merged token
  };
  struct Symbol;
  struct Candidate;

  void read_vocabulary(const JsonValue& vocabulary);
  void read_merges(const JsonValue& merges);
  void read_fallbacks(const JsonValue& model);
  int32_t merge_token(const JsonValue& place, std::string_view text) const;
  const Merge* find_merge(int32_t left, int32_t right) const;
  std::vector<Symbol> split(std::string_view piece,
                            const std::string& source) const;
  void merge(std::vector<Symbol>& symbols) const;

  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;      // by id, into the keys of ids_
  std::unordered_map<uint64_t, Merge> merges_;  // by both ids
  std::optional<std::array<int32_t, 256>> byte_tokens_;  // with byte fallback
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace wush
