// "added_tokens" of a tokenizer.json: tokens that are cut out of text whole,
// before anything else is done to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/support/json.h"
#include "lib/text/normalizer.h"
#include "lib/text/vocabulary.h"

namespace wush {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  // only between characters that are not of a word
  bool lstrip = false;       // takes white space on its left with it
  bool rstrip = false;       // and on its right
  bool normalized = false;   // looked for in normalized text, else in the raw
  bool special = false;      // left out when decoding
};

// A part of a text: an added token, or what lies between.
struct TextPart {
  std::optional<int32_t> id;
  size_t begin = 0;  // bytes
  size_t end = 0;
};

class AddedTokens {
 public:
  // Errors: InputError naming the token whose id differs from the one that the
  // reference library gives it, or that occurs twice.
  AddedTokens(const std::optional<JsonValue>& json,
              const Vocabulary& vocabulary, const Normalizer& normalizer);

  // Cuts a text at the tokens that are (not) normalized: the leftmost match
  // first, the longest of those.
  std::vector<TextPart> split(std::string_view text, bool normalized) const;

  // The added token of an id; null when there is none.
  const AddedToken* find(int32_t id) const;
  int32_t largest_id() const { return largest_id_; }

 private:
  struct Pattern {
    std::string text;
    size_t token;
  };
  struct Match {
    size_t token;
    size_t length;
  };
  // Patterns in the order of their bytes, and the bytes that one starts with.
  struct Patterns {
    void sort();
    std::optional<Match> longest_at(std::string_view text, size_t begin) const;

    std::vector<Pattern> sorted;
    bool starts[256] = {};
  };

  AddedToken read(const JsonValue& json, const Vocabulary& vocabulary) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  int32_t largest_id_ = -1;
  Patterns raw_;
  Patterns normalized_;
};

}  // namespace wush
