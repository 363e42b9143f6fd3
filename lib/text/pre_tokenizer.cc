#include "lib/text/pre_tokenizer.h"

#include <algorithm>

#include "lib/support/error.h"
#include "lib/text/byte_alphabet.h"
#include "lib/text/known_regex.h"
#include "lib/text/normalizer.h"

namespace wush {
namespace {

constexpr size_t kMaxSteps = 16;  // a pass recurses once a step

}  // namespace

struct PreTokenizer::Step {
  enum class Kind {
    kSplit,        // by `regex`
    kPrefixSpace,  // a space in front, unless there is one
    kBytes,        // bytes as the characters that stand for them
    kMarkSpaces,   // U+2581 for spaces
    kPrependMark,  // U+2581 in front, unless there is one
    kCutAtMarks,   // a piece begins at each U+2581
  };
  Kind kind;
  std::optional<KnownRegex> regex = std::nullopt;
  bool only_at_start = false;  // kPrependMark, scheme "first"
};

// One pass of a text through the steps.
struct PreTokenizer::Run {
  void pass(size_t step, std::string_view piece, bool at_start) const;

  const std::vector<Step>& steps;
  const std::string& source;
  const Sink& sink;
};

void PreTokenizer::Run::pass(size_t index, std::string_view piece,
                             bool at_start) const {
  if (piece.empty()) return;
  if (index == steps.size()) return sink(piece);
  const Step& step = steps[index];
  switch (step.kind) {
    case Step::Kind::kSplit:
      step.regex->split(piece, source, [&](std::string_view part) {
        pass(index + 1, part, at_start && part.data() == piece.data());
      });
      break;
    case Step::Kind::kPrefixSpace:
      if (piece.starts_with(' ')) return pass(index + 1, piece, at_start);
      pass(index + 1, fmt::format(" {}", piece), at_start);
      break;
    case Step::Kind::kBytes:
      pass(index + 1, bytes_to_characters(piece), at_start);
      break;
    case Step::Kind::kMarkSpaces:
      pass(index + 1, mark_spaces(piece), at_start);
      break;
    case Step::Kind::kPrependMark:
      if (piece.starts_with(kSpaceMark) || (step.only_at_start && !at_start)) {
        return pass(index + 1, piece, at_start);
      }
      pass(index + 1, fmt::format("{}{}", kSpaceMark, piece), at_start);
      break;
    case Step::Kind::kCutAtMarks:
      for (size_t begin = 0; begin < piece.size();) {
        const size_t mark = piece.find(kSpaceMark, begin + 1);
        const size_t end = std::min(mark, piece.size());
        pass(index + 1, piece.substr(begin, end - begin),
             at_start && begin == 0);
        begin = end;
      }
      break;
  }
}

PreTokenizer::PreTokenizer(const std::optional<JsonValue>& json) {
  if (json && !json->is_null()) read(*json);
}

PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

void PreTokenizer::read(const JsonValue& json) {
  const JsonValue type = json.at("type");
  if (type.string() == "Sequence") {
    for (const JsonValue& step : json.at("pretokenizers").elements()) {
      read(step);
    }
  } else if (type.string() == "Split") {
    read_split(json);
  } else if (type.string() == "ByteLevel") {
    read_byte_level(json);
  } else if (type.string() == "Metaspace") {
    read_metaspace(json);
  } else {
    type.fail("pre-tokenizer Sequence, Split, ByteLevel or Metaspace");
  }
}

void PreTokenizer::append(const JsonValue& place, Step step) {
  if (steps_.size() == kMaxSteps) {
    place.fail(fmt::format("at most {} steps", kMaxSteps));
  }
  // Twice, the second would take the first one's characters for text.
  for (const Step& other : steps_) {
    if (other.kind == Step::Kind::kBytes && step.kind == other.kind) {
      place.fail("one ByteLevel");
    }
  }
  steps_.push_back(std::move(step));
}

void PreTokenizer::read_split(const JsonValue& json) {
  const JsonValue pattern = json.at("pattern").at("Regex");
  if (!is_known_pattern(pattern.string())) {
    pattern.fail("the regex of Llama 3, Qwen or GPT-2");
  }
  const JsonValue behavior = json.at("behavior");
  if (behavior.string() != "Isolated") behavior.fail("behavior \"Isolated\"");
  const auto invert = json.find_non_null("invert");
  if (invert && invert->boolean()) invert->fail("false");
  append(json, {Step::Kind::kSplit, KnownRegex(pattern.string())});
}

void PreTokenizer::read_byte_level(const JsonValue& json) {
  if (json.at("add_prefix_space").boolean()) {
    append(json, {Step::Kind::kPrefixSpace});
  }
  const auto use_regex = json.find_non_null("use_regex");
  if (!use_regex || use_regex->boolean()) {
    append(json, {Step::Kind::kSplit, KnownRegex(kGpt2Pattern)});
  }
  append(json, {Step::Kind::kBytes});
}

void PreTokenizer::read_metaspace(const JsonValue& json) {
  const JsonValue mark = json.at("replacement");
  if (mark.string() != kSpaceMark) mark.fail("U+2581");
  append(json, {Step::Kind::kMarkSpaces});
  const auto scheme = json.find_non_null("prepend_scheme");
  // Files from before prepend_scheme have add_prefix_space instead.
  const auto older = json.find_non_null("add_prefix_space");
  const std::string_view name =
      scheme ? scheme->string()
             : (!older || older->boolean() ? "always" : "never");
  if (name != "always" && name != "first" && name != "never") {
    scheme->fail("always, first or never");
  }
  if (name != "never") {
    append(json, {Step::Kind::kPrependMark, std::nullopt, name == "first"});
  }
  const auto split = json.find_non_null("split");
  if (!split || split->boolean()) append(json, {Step::Kind::kCutAtMarks});
}

void PreTokenizer::split(std::string_view text, bool at_start,
                         const std::string& source, const Sink& sink) const {
  Run{steps_, source, sink}.pass(0, text, at_start);
}

}  // namespace wush
