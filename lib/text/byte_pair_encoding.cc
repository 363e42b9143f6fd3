#include "lib/text/byte_pair_encoding.h"

#include <fmt/format.h>

#include <queue>

#include "lib/support/error.h"
#include "lib/support/unicode.h"

namespace wush {

// A token of the piece, linked to its neighbours; -1 ends the list.
struct BytePairEncoding::Symbol {
  int32_t id;
  int32_t previous;
  int32_t next;
  bool merged_away = false;
};

// A pair that may be merged: the symbol at `position` with the one after it.
struct BytePairEncoding::Candidate {
  int32_t rank;
  int32_t position;
  int32_t id;  // of the merged token

  // For a queue that pops the lowest rank, then the leftmost, first.
  bool operator<(const Candidate& other) const {
    return std::pair(rank, position) > std::pair(other.rank, other.position);
  }
};

namespace {

// An option that tokenizer.json may hold and that is not implemented.
void check_unset(const JsonValue& model, std::string_view key) {
  const auto value = model.find_non_null(key);
  if (!value) return;
  const bool empty_text = value->is_string() && value->string().empty();
  const bool zero = !value->is_string() && value->number() == 0.0;
  if (!empty_text && !zero) value->fail("null");
}

bool flag(const JsonValue& model, std::string_view key) {
  const auto value = model.find_non_null(key);
  return value && value->boolean();
}

// The model, once it is known to be of the kind that is implemented.
const JsonValue& checked(const JsonValue& model) {
  const auto type = model.find_non_null("type");
  if (type && type->string() != "BPE") type->fail("model \"BPE\"");
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    check_unset(model, key);
  }
  return model;
}

// The two halves of a merge: "a b" or ["a", "b"].
std::pair<std::string_view, std::string_view> merge_halves(
    const JsonValue& merge) {
  if (merge.is_array()) {
    const auto halves = merge.elements();
    if (halves.size() != 2) merge.fail("two tokens");
    return {halves[0].string(), halves[1].string()};
  }
  const std::string_view text = merge.string();
  const size_t space = text.find(' ');
  if (space == std::string_view::npos ||
      text.find(' ', space + 1) != std::string_view::npos) {
    merge.fail("two tokens with one space between");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

}  // namespace

BytePairEncoding::BytePairEncoding(const JsonValue& model)
    : vocabulary_(checked(model).at("vocab")),
      merges_(model.at("merges").size()) {
  read_merges(model.at("merges"));
  read_fallbacks(model);
  ignore_merges_ = flag(model, "ignore_merges");
}

int32_t BytePairEncoding::merge_token(const JsonValue& place,
                                      std::string_view text) const {
  if (const auto id = vocabulary_.find(text)) return *id;
  throw InputError(
      place.where(),
      fmt::format("expected tokens of the vocabulary, found \"{}\"",
                  printable(text)));
}

void BytePairEncoding::read_merges(const JsonValue& merges) {
  MergeTable::Merge merge;
  merges.for_each_element([&](const JsonValue& element) {
    const auto [left, right] = merge_halves(element);
    merge.left = merge_token(element, left);
    merge.right = merge_token(element, right);
    merge.id = merge_token(element, fmt::format("{}{}", left, right));
    merges_.insert(merge);
    ++merge.rank;
  });
}

void BytePairEncoding::read_fallbacks(const JsonValue& model) {
  if (const auto token = model.find_non_null("unk_token")) {
    unknown_ = vocabulary_.find(token->string());
    if (!unknown_) token->fail("a token of the vocabulary");
  }
  fuse_unknown_ = flag(model, "fuse_unk");
  if (!flag(model, "byte_fallback")) return;
  byte_tokens_.emplace();
  for (size_t byte = 0; byte < byte_tokens_->size(); ++byte) {
    const std::string text = fmt::format("<0x{:02X}>", byte);
    const auto id = vocabulary_.find(text);
    if (!id) {
      throw InputError(
          model.at("vocab").where(),
          fmt::format("expected all 256 byte tokens (byte_fallback "
                      "is set), found no {}",
                      text));
    }
    (*byte_tokens_)[byte] = *id;
  }
}

std::vector<BytePairEncoding::Symbol> BytePairEncoding::split(
    std::string_view piece, const std::string& source) const {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  const auto append = [&symbols](int32_t id) {
    const auto position = static_cast<int32_t>(symbols.size());
    if (!symbols.empty()) symbols.back().next = position;
    symbols.push_back({id, position - 1, -1});
  };
  bool after_unknown = false;
  for (size_t i = 0; i < piece.size();) {
    const size_t length = decode_utf8(piece, i).length;
    const std::string_view character = piece.substr(i, length);
    i += length;
    const auto id = vocabulary_.find(character);
    if (id) {
      append(*id);
    } else if (byte_tokens_) {
      for (const char byte : character) {
        append((*byte_tokens_)[static_cast<uint8_t>(byte)]);
      }
    } else if (unknown_) {
      if (!after_unknown || !fuse_unknown_) append(*unknown_);
    } else {
      throw InputError(
          source,
          fmt::format("expected characters of the vocabulary, found \"{}\"",
                      printable(character)));
    }
    after_unknown = !id && !byte_tokens_;
  }
  return symbols;
}

void BytePairEncoding::merge(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> first;
  first.reserve(symbols.size());
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (const MergeTable::Merge* found =
            merges_.find(symbols[i].id, symbols[i + 1].id)) {
      first.push_back({found->rank, static_cast<int32_t>(i), found->id});
    }
  }
  std::priority_queue<Candidate> queue({}, std::move(first));
  const auto propose = [&](int32_t left) {
    if (left < 0) return;
    const Symbol& symbol = symbols[static_cast<size_t>(left)];
    if (symbol.next < 0) return;
    const Symbol& next = symbols[static_cast<size_t>(symbol.next)];
    if (const MergeTable::Merge* found = merges_.find(symbol.id, next.id)) {
      queue.push({found->rank, left, found->id});
    }
  };
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<size_t>(best.position)];
    if (left.merged_away || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    // The pair may have changed since it was proposed; like the reference, only
    // the token that comes of it has to be the same.
    const MergeTable::Merge* found = merges_.find(left.id, right.id);
    if (found == nullptr || found->id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.merged_away = true;
    if (left.next >= 0) {
      symbols[static_cast<size_t>(left.next)].previous = best.position;
    }
    propose(left.previous);
    propose(best.position);
  }
}

void BytePairEncoding::encode(std::string_view piece, const std::string& source,
                              std::vector<int32_t>& out) const {
  if (ignore_merges_) {
    if (const auto whole = vocabulary_.find(piece)) {
      out.push_back(*whole);
      return;
    }
  }
  std::vector<Symbol> symbols = split(piece, source);
  merge(symbols);
  for (const Symbol& symbol : symbols) {
    if (!symbol.merged_away) out.push_back(symbol.id);
  }
}

}  // namespace wush
