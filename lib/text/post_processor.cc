#include "lib/text/post_processor.h"

#include <fmt/format.h>

namespace wush {
namespace {

constexpr size_t kMaxTemplateIds = 64;

}  // namespace

PostProcessor::PostProcessor(const std::optional<JsonValue>& json,
                             int64_t vocab_size) {
  if (json && !json->is_null()) read(*json, vocab_size);
}

void PostProcessor::read(const JsonValue& json, int64_t vocab_size) {
  const JsonValue type = json.at("type");
  if (type.string() == "Sequence") {
    for (const JsonValue& step : json.at("processors").elements()) {
      read(step, vocab_size);
    }
  } else if (type.string() == "TemplateProcessing") {
    if (!before.empty() || !after.empty()) type.fail("one template");
    read_template(json, vocab_size);
  } else if (type.string() != "ByteLevel") {
    type.fail("post-processor Sequence, TemplateProcessing or ByteLevel");
  }
}

void PostProcessor::read_template(const JsonValue& json, int64_t vocab_size) {
  const JsonValue pieces = json.at("single");
  const JsonValue tokens = json.at("special_tokens");
  bool seen = false;
  for (const JsonValue& piece : pieces.elements()) {
    if (const auto sequence = piece.find("Sequence")) {
      const JsonValue name = sequence->at("id");
      if (seen || name.string() != "A") name.fail("sequence \"A\" once");
      seen = true;
      continue;
    }
    const JsonValue token =
        tokens.at(piece.at("SpecialToken").at("id").string());
    std::vector<int32_t>& side = seen ? after : before;
    for (const JsonValue& id : token.at("ids").elements()) {
      side.push_back(static_cast<int32_t>(id.integer_in(0, vocab_size - 1)));
      if (side.size() > kMaxTemplateIds) {
        pieces.fail(fmt::format("at most {} special tokens", kMaxTemplateIds));
      }
    }
  }
  if (!seen) pieces.fail("a template with sequence \"A\"");
}

}  // namespace wush
