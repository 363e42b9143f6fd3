// "pre_tokenizer" of a tokenizer.json: how text is cut into pieces, within
// which tokens are merged.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/json.h"

namespace wush {

class PreTokenizer {
 public:
  using Sink = std::function<void(std::string_view piece)>;

  // Reads Split with a known regex, ByteLevel, Metaspace, and sequences of
  // them; nothing and null pass text on whole. Errors: InputError naming
  // another type or an unknown regex, which is never run.
  explicit PreTokenizer(const std::optional<JsonValue>& json);
  PreTokenizer(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // Hands the pieces of a text, none empty, to `sink` in order. `at_start` says
  // that the text begins the whole input (for Metaspace's scheme "first").
  // Errors: InputError(source, ...) when the regex gives up on the text.
  void split(std::string_view text, bool at_start, const std::string& source,
             const Sink& sink) const;

 private:
  struct Step;
  struct Run;
  void read(const JsonValue& json);
  void append(const JsonValue& place, Step step);
  void read_split(const JsonValue& json);
  void read_byte_level(const JsonValue& json);
  void read_metaspace(const JsonValue& json);

  std::vector<Step> steps_;
};

}  // namespace wush
