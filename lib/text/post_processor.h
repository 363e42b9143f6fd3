// "post_processor" of a tokenizer.json: special tokens around a text.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/support/json.h"

namespace wush {

struct PostProcessor {
  // Reads TemplateProcessing (its template for a single text), ByteLevel (which
  // only touches offsets) and sequences of them. Ids lie below `vocab_size`.
  // Errors: InputError naming another type, or a token that is not defined.
  PostProcessor(const std::optional<JsonValue>& json, int64_t vocab_size);

  std::vector<int32_t> before;
  std::vector<int32_t> after;

 private:
  void read(const JsonValue& json, int64_t vocab_size);
  void read_template(const JsonValue& json, int64_t vocab_size);
};

}  // namespace wush
