// Compact tables of a byte-pair encoding: tokens by text and by id, and merges.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/json.h"

namespace wush {

// Ids lie below this; four times the largest vocabulary in use.
inline constexpr int64_t kMaxTokenId = (int64_t{1} << 20) - 1;

// Tokens and their ids. Each costs its bytes and about 20 more.
class Vocabulary {
 public:
  // Reads "vocab" of a tokenizer.json: an object of token to id.
  // Errors: InputError for ids out of range or used twice.
  explicit Vocabulary(const JsonValue& vocab);

  std::optional<int32_t> find(std::string_view token) const;
  // The token of an id, if it has one.
  std::optional<std::string_view> token(int32_t id) const;
  // Number of tokens, which is not the largest id plus one if there are gaps.
  int64_t size() const { return size_; }
  int32_t largest_id() const { return static_cast<int32_t>(by_id_.size()) - 1; }

 private:
  static constexpr uint32_t kAbsent = ~uint32_t{0};
  struct Range {
    uint32_t offset = kAbsent;  // into characters_
    uint32_t length = 0;
  };
  std::string_view text(const Range& range) const {
    return std::string_view(characters_).substr(range.offset, range.length);
  }
  // The slot that holds the token, or the free one where it belongs.
  size_t slot_of(std::string_view token) const;

  std::string characters_;
  std::vector<Range> by_id_;
  std::vector<int32_t> slots_;  // ids by hash of their text; -1: free
  int64_t size_ = 0;
};

// What two neighbouring tokens merge to. A table of open addressing: looking a
// pair up is what encoding spends its time on.
class MergeTable {
 public:
  struct Merge {
    int32_t left = -1;  // -1: a free slot
    int32_t right = -1;
    int32_t rank = 0;  // lower ranks are merged first
    int32_t id = 0;    // of the merged token
  };

  // Makes room for `count` merges.
  explicit MergeTable(size_t count);

  // Adds a merge; of two for the same pair the later counts, as in the
  // reference library.
  void insert(const Merge& merge);
  // The merge of a pair; null when there is none.
  const Merge* find(int32_t left, int32_t right) const;

 private:
  size_t slot_of(int32_t left, int32_t right) const;

  std::vector<Merge> slots_;
};

}  // namespace wush
