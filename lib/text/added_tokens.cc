#include "lib/text/added_tokens.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <unordered_set>

#include "lib/support/error.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr size_t kMaxAddedTokens = 1 << 16;
constexpr size_t kMaxContentBytes = 1024;

// White_Space of the Unicode character database.
bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// \w of Unicode regexes (UTS 18, annex C) by general category; circled letters,
// which are alphabetic symbols, are the one range that categories miss.
bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
             (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
             (c >= 0x1F170 && c <= 0x1F189);
  }
}

// Where the character before `end` begins; end > 0, and the text is UTF-8.
size_t character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while ((static_cast<uint8_t>(text[begin]) & 0xC0u) == 0x80u) --begin;
  return begin;
}

bool ends_with_word(std::string_view text, size_t end) {
  return end > 0 &&
         is_word(decode_utf8(text, character_before(text, end)).value);
}

bool starts_with_word(std::string_view text, size_t begin) {
  return begin < text.size() && is_word(decode_utf8(text, begin).value);
}

size_t skip_space_left(std::string_view text, size_t end, size_t lowest) {
  while (end > lowest) {
    const size_t before = character_before(text, end);
    if (!is_white_space(decode_utf8(text, before).value)) break;
    end = before;
  }
  return end;
}

size_t skip_space_right(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const CodePoint point = decode_utf8(text, begin);
    if (!is_white_space(point.value)) break;
    begin += point.length;
  }
  return begin;
}

bool flag(const JsonValue& json, std::string_view key) {
  const auto value = json.find_non_null(key);
  return value && value->boolean();
}

}  // namespace

AddedTokens::AddedTokens(const std::optional<JsonValue>& json,
                         const Vocabulary& vocabulary,
                         const Normalizer& normalizer) {
  if (!json || json->is_null()) return;
  const std::vector<JsonValue> elements = json->elements();
  if (elements.size() > kMaxAddedTokens) {
    json->fail(fmt::format("at most {} added tokens", kMaxAddedTokens));
  }
  std::unordered_set<std::string_view> contents;
  tokens_.reserve(elements.size());
  for (const JsonValue& element : elements) {
    AddedToken token = read(element, vocabulary);
    Patterns& patterns = token.normalized ? normalized_ : raw_;
    patterns.sorted.push_back(
        {token.normalized ? normalizer.apply(token.content) : token.content,
         tokens_.size()});
    largest_id_ = std::max(largest_id_, token.id);
    by_id_.emplace(token.id, tokens_.size());
    tokens_.push_back(std::move(token));
    if (!contents.insert(tokens_.back().content).second) {
      element.at("content").fail("each added token once");
    }
  }
  raw_.sort();
  normalized_.sort();
}

AddedToken AddedTokens::read(const JsonValue& json,
                             const Vocabulary& vocabulary) const {
  AddedToken token;
  const JsonValue content = json.at("content");
  token.content = content.string();
  if (token.content.empty() || token.content.size() > kMaxContentBytes) {
    content.fail(fmt::format("a token of 1 to {} bytes", kMaxContentBytes));
  }
  const JsonValue id = json.at("id");
  token.id = static_cast<int32_t>(id.integer_in(0, kMaxTokenId));
  // The reference library numbers the tokens itself: those of the vocabulary
  // keep their id, others follow it one by one.
  const auto next =
      std::max<int64_t>(vocabulary.size(), int64_t{largest_id_} + 1);
  const int64_t expected = vocabulary.find(token.content).value_or(next);
  if (token.id != expected) {
    id.fail(
        fmt::format("id {} for \"{}\"", expected, printable(token.content)));
  }
  token.single_word = flag(json, "single_word");
  token.lstrip = flag(json, "lstrip");
  token.rstrip = flag(json, "rstrip");
  token.normalized = flag(json, "normalized");
  token.special = flag(json, "special");
  return token;
}

void AddedTokens::Patterns::sort() {
  // Of equal patterns special tokens, then earlier ones, would come first; the
  // stable order keeps the file's.
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const Pattern& a, const Pattern& b) { return a.text < b.text; });
  for (const Pattern& pattern : sorted) {
    if (!pattern.text.empty()) {
      starts[static_cast<uint8_t>(pattern.text.front())] = true;
    }
  }
}

std::optional<AddedTokens::Match> AddedTokens::Patterns::longest_at(
    std::string_view text, size_t begin) const {
  if (!starts[static_cast<uint8_t>(text[begin])]) return std::nullopt;
  std::optional<Match> longest;
  auto low = sorted.begin();
  auto high = sorted.end();
  // After `length` steps [low, high) are the patterns that share that many
  // bytes with the text; the shortest of them sorts first.
  for (size_t length = 1; begin + length <= text.size(); ++length) {
    const auto wanted = static_cast<uint8_t>(text[begin + length - 1]);
    const auto byte_below = [&](const Pattern& pattern, uint8_t byte) {
      return pattern.text.size() < length ||
             static_cast<uint8_t>(pattern.text[length - 1]) < byte;
    };
    const auto byte_above = [&](uint8_t byte, const Pattern& pattern) {
      return pattern.text.size() >= length &&
             static_cast<uint8_t>(pattern.text[length - 1]) > byte;
    };
    low = std::lower_bound(low, high, wanted, byte_below);
    high = std::upper_bound(low, high, wanted, byte_above);
    if (low == high) break;
    if (low->text.size() == length) longest = Match{low->token, length};
  }
  return longest;
}

std::vector<TextPart> AddedTokens::split(std::string_view text,
                                         bool normalized) const {
  const Patterns& patterns = normalized ? normalized_ : raw_;
  std::vector<TextPart> parts;
  size_t done = 0;      // end of the last part
  size_t stripped = 0;  // end of the white space that the last rstrip took
  for (size_t i = 0; i < text.size();) {
    const auto match = patterns.longest_at(text, i);
    if (!match) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[match->token];
    size_t begin = i;
    size_t end = i + match->length;
    i = end;
    if (token.single_word &&
        (ends_with_word(text, begin) || starts_with_word(text, end))) {
      continue;
    }
    if (token.lstrip) begin = skip_space_left(text, begin, done);
    if (token.rstrip) {
      end = end < stripped ? stripped : skip_space_right(text, end);
      stripped = end;
    }
    if (done < begin) parts.push_back({std::nullopt, done, begin});
    parts.push_back({token.id, begin, end});
    done = end;
  }
  if (done < text.size()) parts.push_back({std::nullopt, done, text.size()});
  return parts;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

}  // namespace wush
