#include "lib/checkpoint/config_rope.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <optional>

#include "lib/support/error.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr std::array kTypes = {RopeType::kDefault, RopeType::kLinear,
                               RopeType::kLlama3, RopeType::kYarn};

double positive(const JsonValue& value) {
  const double number = value.number();
  if (!(number > 0.0)) value.fail("number above 0");
  return number;
}

double at_least_one(const JsonValue& value) {
  const double number = value.number();
  if (!(number >= 1.0)) value.fail("number of at least 1");
  return number;
}

double positive_or(const JsonValue& parameters, std::string_view key,
                   double absent) {
  const auto value = parameters.find_non_null(key);
  return value ? positive(*value) : absent;
}

// "rope_type" is the name in transformers since 4.43, "type" the older one.
std::optional<JsonValue> type_entry(const JsonValue& parameters) {
  const auto name = parameters.find_non_null("rope_type");
  const auto older = parameters.find_non_null("type");
  if (name && older && name->string() != older->string()) {
    older->fail(
        fmt::format("\"{}\" as in rope_type", printable(name->string())));
  }
  return name ? name : older;
}

RopeType read_type(const JsonValue& parameters) {
  const auto entry = type_entry(parameters);
  if (!entry) return RopeType::kDefault;
  for (const RopeType type : kTypes) {
    if (rope_type_name(type) == entry->string()) return type;
  }
  entry->fail("RoPE type default, linear, llama3 or yarn");
}

// A parameter that is not known could change the numbers, so none is skipped.
void check_keys(const JsonValue& parameters) {
  constexpr std::array<std::string_view, 13> kKnown = {
      "rope_type",
      "type",
      "rope_theta",
      "factor",
      "low_freq_factor",
      "high_freq_factor",
      "original_max_position_embeddings",
      "attention_factor",
      "beta_fast",
      "beta_slow",
      "partial_rotary_factor",
      "truncate",
      "finetuned",  // says how the weights were made
  };
  for (const auto& [key, value] : parameters.members()) {
    bool known = value.is_null();
    for (const std::string_view name : kKnown) known = known || name == key;
    if (!known) {
      throw InputError(
          value.where(),
          fmt::format("expected one of the RoPE parameters {}, found another",
                      fmt::join(kKnown, ", ")));
    }
  }
  if (const auto value = parameters.find_non_null("partial_rotary_factor");
      value && value->number() != 1.0) {
    value->fail("1: partial rotation is not implemented");
  }
  if (const auto value = parameters.find_non_null("truncate");
      value && !value->boolean()) {
    value->fail("true: untruncated yarn ranges are not implemented");
  }
}

int64_t read_original_length(const JsonValue& parameters) {
  return parameters.at("original_max_position_embeddings")
      .integer_in(1, int64_t{1} << 32);
}

void read_type_parameters(const JsonValue& parameters, RopeConfig& rope) {
  if (rope.type == RopeType::kDefault) {
    const auto factor = parameters.find_non_null("factor");
    if (factor) factor->fail("no factor: RoPE type default does not scale");
    return;
  }
  rope.factor = at_least_one(parameters.at("factor"));
  if (rope.type == RopeType::kLlama3) {
    rope.low_freq_factor = positive(parameters.at("low_freq_factor"));
    rope.high_freq_factor = positive(parameters.at("high_freq_factor"));
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      parameters.at("high_freq_factor")
          .fail(fmt::format("number above low_freq_factor {}",
                            rope.low_freq_factor));
    }
    rope.original_max_position_embeddings = read_original_length(parameters);
  } else if (rope.type == RopeType::kYarn) {
    rope.beta_fast = positive_or(parameters, "beta_fast", rope.beta_fast);
    rope.beta_slow = positive_or(parameters, "beta_slow", rope.beta_slow);
    rope.attention_factor = positive_or(parameters, "attention_factor",
                                        0.1 * std::log(rope.factor) + 1.0);
    rope.original_max_position_embeddings = read_original_length(parameters);
  }
}

// rope_theta may stand at the top, inside the parameters, or in both places.
double read_theta(const JsonValue& root,
                  const std::optional<JsonValue>& parameters) {
  const auto outer = root.find_non_null("rope_theta");
  const auto inner =
      parameters ? parameters->find_non_null("rope_theta") : std::nullopt;
  if (outer && inner && outer->number() != inner->number()) {
    inner->fail(
        fmt::format("the same as /rope_theta, which is {}", outer->number()));
  }
  const auto theta = inner ? inner : outer;
  if (!theta) return RopeConfig().theta;
  if (!(theta->number() > 1.0)) theta->fail("number above 1");
  return theta->number();
}

}  // namespace

std::string_view rope_type_name(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kYarn:
      return "yarn";
  }
  return "";
}

RopeConfig read_rope(const JsonValue& root) {
  const auto newer = root.find_non_null("rope_parameters");
  const auto older = root.find_non_null("rope_scaling");
  if (newer && older) {
    older->fail("no rope_scaling beside rope_parameters");
  }
  const auto parameters = newer ? newer : older;
  RopeConfig rope;
  rope.theta = read_theta(root, parameters);
  if (parameters) {
    check_keys(*parameters);
    rope.type = read_type(*parameters);
    if (older && !type_entry(*older)) older->fail("rope_type");
    read_type_parameters(*parameters, rope);
  }
  return rope;
}

}  // namespace wush
