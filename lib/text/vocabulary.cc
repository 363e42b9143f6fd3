#include "lib/text/vocabulary.h"

#include <fmt/format.h>

#include <bit>
#include <functional>

#include "lib/support/unicode.h"

namespace wush {
namespace {

// At most four fifths full.
size_t slot_count(size_t entries) {
  return std::bit_ceil(entries + entries / 4 + 2);
}

}  // namespace

Vocabulary::Vocabulary(const JsonValue& vocab) {
  vocab.for_each_member([&](std::string_view token, const JsonValue& value) {
    const auto id = static_cast<size_t>(value.integer_in(0, kMaxTokenId));
    if (id >= by_id_.size()) by_id_.resize(id + 1);
    if (by_id_[id].offset != kAbsent) {
      value.fail(fmt::format("each id once (\"{}\" has it too)",
                             printable(text(by_id_[id]))));
    }
    by_id_[id] = {static_cast<uint32_t>(characters_.size()),
                  static_cast<uint32_t>(token.size())};
    characters_ += token;
    ++size_;
  });
  if (size_ == 0) vocab.fail("at least one token");
  slots_.assign(slot_count(static_cast<size_t>(size_)), -1);
  for (size_t id = 0; id < by_id_.size(); ++id) {
    if (by_id_[id].offset == kAbsent) continue;
    slots_[slot_of(text(by_id_[id]))] = static_cast<int32_t>(id);
  }
}

size_t Vocabulary::slot_of(std::string_view token) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>{}(token)&mask;
  while (slots_[slot] >= 0 &&
         text(by_id_[static_cast<size_t>(slots_[slot])]) != token) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const int32_t id = slots_[slot_of(token)];
  if (id < 0) return std::nullopt;
  return id;
}

std::optional<std::string_view> Vocabulary::token(int32_t id) const {
  const auto index = static_cast<size_t>(id);
  if (id < 0 || index >= by_id_.size() || by_id_[index].offset == kAbsent) {
    return std::nullopt;
  }
  return text(by_id_[index]);
}

MergeTable::MergeTable(size_t count) : slots_(slot_count(count)) {}

size_t MergeTable::slot_of(int32_t left, int32_t right) const {
  const uint64_t pair =
      static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  // Fibonacci hashing: the high bits of the product depend on all of the pair.
  const uint64_t mixed = pair * 0x9E3779B97F4A7C15u;
  const size_t mask = slots_.size() - 1;
  size_t slot = static_cast<size_t>(mixed >> 32) & mask;
  while (slots_[slot].left >= 0 &&
         (slots_[slot].left != left || slots_[slot].right != right)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void MergeTable::insert(const Merge& merge) {
  slots_[slot_of(merge.left, merge.right)] = merge;
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  const Merge& merge = slots_[slot_of(left, right)];
  return merge.left >= 0 ? &merge : nullptr;
}

}  // namespace wush
