#include "lib/text/decoder.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>

#include "lib/support/unicode.h"
#include "lib/text/byte_alphabet.h"
#include "lib/text/normalizer.h"

namespace wush {
namespace {

constexpr size_t kMaxSteps = 16;
constexpr int64_t kMaxStrip = 1 << 20;

std::string joined(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

std::string replace_marks(std::string_view text, std::string_view with) {
  std::string out;
  for (size_t begin = 0;;) {
    const size_t mark = text.find(kSpaceMark, begin);
    out += text.substr(begin, mark - begin);
    if (mark == std::string_view::npos) return out;
    out += with;
    begin = mark + kSpaceMark.size();
  }
}

// The bytes of a token whose characters all stand for one, else the token.
std::string token_bytes(const std::string& token) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const CodePoint point = decode_utf8(token, i);
    const auto byte = character_to_byte(point.value);
    if (!byte) return token;
    bytes += static_cast<char>(*byte);
    i += point.length;
  }
  return bytes;
}

// The byte of "<0x41>", if the token has that form.
std::optional<char> byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') {
    return std::nullopt;
  }
  unsigned byte = 0;
  const auto [end, error] =
      std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

// Runs of byte tokens as text; a run that is not UTF-8 as one U+FFFD a byte.
std::vector<std::string> decode_byte_tokens(
    const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string run;
  const auto flush = [&] {
    if (!run.empty() && first_invalid_utf8(run)) {
      out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
    } else if (!run.empty()) {
      out.push_back(run);
    }
    run.clear();
  };
  for (const std::string& token : tokens) {
    if (const auto byte = byte_token(token)) {
      run += *byte;
    } else {
      flush();
      out.push_back(token);
    }
  }
  flush();
  return out;
}

std::string stripped(std::string_view text, std::string_view content,
                     int64_t start, int64_t stop) {
  while (start-- > 0 && text.starts_with(content)) {
    text.remove_prefix(content.size());
  }
  while (stop-- > 0 && text.ends_with(content)) {
    text.remove_suffix(content.size());
  }
  return std::string(text);
}

}  // namespace

Decoder::Decoder(const std::optional<JsonValue>& json) {
  if (!json || json->is_null()) return;
  present_ = true;
  read(*json);
}

void Decoder::read(const JsonValue& json) {
  if (steps_.size() >= kMaxSteps) {
    json.fail(fmt::format("at most {} steps", kMaxSteps));
  }
  const JsonValue type = json.at("type");
  const std::string_view name = type.string();
  if (name == "Sequence") {
    for (const JsonValue& step : json.at("decoders").elements()) read(step);
  } else if (name == "ByteLevel") {
    steps_.push_back({Kind::kBytes});
  } else if (name == "Metaspace") {
    const auto scheme = json.find_non_null("prepend_scheme");
    if (!scheme || scheme->string() != "never") {
      steps_.push_back({Kind::kDropMarks});
    }
    steps_.push_back({Kind::kMarksToSpaces});
  } else if (name == "Replace") {
    const JsonValue pattern = json.at("pattern").at("String");
    if (pattern.string() != kSpaceMark) pattern.fail("U+2581");
    const JsonValue content = json.at("content");
    if (content.string() != " ") content.fail("a space");
    steps_.push_back({Kind::kMarksToSpaces});
  } else if (name == "ByteFallback") {
    steps_.push_back({Kind::kByteTokens});
  } else if (name == "Fuse") {
    steps_.push_back({Kind::kJoin});
  } else if (name == "Strip") {
    const JsonValue content = json.at("content");
    if (content.string() != " ") content.fail("a space");
    steps_.push_back({Kind::kStrip, std::string(content.string()),
                      json.at("start").integer_in(0, kMaxStrip),
                      json.at("stop").integer_in(0, kMaxStrip)});
  } else {
    type.fail(
        "decoder Sequence, ByteLevel, Metaspace, Replace, ByteFallback, Fuse "
        "or Strip");
  }
}

void Decoder::apply(const Step& step, std::vector<std::string>& tokens) {
  switch (step.kind) {
    case Kind::kBytes:
      for (std::string& token : tokens) token = token_bytes(token);
      tokens = {replace_invalid_utf8(joined(tokens))};
      break;
    case Kind::kMarksToSpaces:
      for (std::string& token : tokens) token = replace_marks(token, " ");
      break;
    case Kind::kDropMarks:
      if (!tokens.empty()) tokens[0] = replace_marks(tokens[0], "");
      break;
    case Kind::kByteTokens:
      tokens = decode_byte_tokens(tokens);
      break;
    case Kind::kJoin:
      tokens = {joined(tokens)};
      break;
    case Kind::kStrip:
      for (std::string& token : tokens) {
        token = stripped(token, step.content, step.start, step.stop);
      }
      break;
  }
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  if (!present_) return fmt::format("{}", fmt::join(tokens, " "));
  for (const Step& step : steps_) apply(step, tokens);
  return joined(tokens);
}

}  // namespace wush
