#include "lib/text/normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "lib/support/error.h"

namespace wush {
namespace {

constexpr size_t kMaxSteps = 16;

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

void append_composed(std::string_view text, std::string& out) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
      static_cast<utf8proc_ssize_t>(text.size()), &composed,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(
      composed, &std::free);
  WUSH_CHECK(size >= 0, "utf8proc: {}", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(composed),
             static_cast<size_t>(size));
}

}  // namespace

std::string compose_characters(std::string_view text) {
  // ASCII never composes with what stands before it, so the text falls into
  // parts: ASCII, which stays, and one ASCII character with what follows it.
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(i);
    const auto other = static_cast<size_t>(
        std::find_if_not(begin, text.end(), is_ascii) - text.begin());
    const size_t start = other > i ? other - 1 : other;
    if (other == text.size()) {
      out += text.substr(i);
      break;
    }
    out += text.substr(i, start - i);
    const auto end = static_cast<size_t>(
        std::find_if(text.begin() + static_cast<std::ptrdiff_t>(other),
                     text.end(), is_ascii) -
        text.begin());
    append_composed(text.substr(start, end - start), out);
    i = end;
  }
  return out;
}

Normalizer::Normalizer(const std::optional<JsonValue>& json) {
  if (json && !json->is_null()) read(*json);
}

void Normalizer::read(const JsonValue& json) {
  if (steps_.size() == kMaxSteps) {
    json.fail(fmt::format("at most {} steps", kMaxSteps));
  }
  const JsonValue type = json.at("type");
  if (type.string() == "Sequence") {
    for (const JsonValue& step : json.at("normalizers").elements()) read(step);
  } else if (type.string() == "NFC") {
    steps_.push_back(Step::kCompose);
  } else if (type.string() == "Prepend") {
    const JsonValue text = json.at("prepend");
    if (text.string() != kSpaceMark) text.fail("U+2581");
    steps_.push_back(Step::kPrependMark);
  } else if (type.string() == "Replace") {
    const JsonValue pattern = json.at("pattern");
    if (!pattern.contains("String") || pattern.at("String").string() != " ") {
      pattern.fail("{\"String\": \" \"}");
    }
    const JsonValue content = json.at("content");
    if (content.string() != kSpaceMark) content.fail("U+2581");
    steps_.push_back(Step::kMarkSpaces);
  } else {
    type.fail("normalizer Sequence, NFC, Prepend or Replace");
  }
}

std::string Normalizer::apply(std::string_view text) const {
  std::string current(text);
  for (const Step step : steps_) {
    std::string next;
    switch (step) {
      case Step::kCompose:
        next = compose_characters(current);
        break;
      case Step::kPrependMark:
        if (!current.empty()) next = fmt::format("{}{}", kSpaceMark, current);
        break;
      case Step::kMarkSpaces:
        next = mark_spaces(current);
        break;
    }
    current = std::move(next);
  }
  return current;
}

std::string mark_spaces(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      out += kSpaceMark;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace wush
