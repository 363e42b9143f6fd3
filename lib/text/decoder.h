// "decoder" of a tokenizer.json: from tokens back to text, for messages.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/support/json.h"

namespace wush {

class Decoder {
 public:
  // Reads ByteLevel, Metaspace, Replace of U+2581 by " ", ByteFallback, Fuse,
  // Strip and sequences of them. Errors: InputError naming another type.
  explicit Decoder(const std::optional<JsonValue>& json);

  // The text of tokens; without a decoder, the tokens with spaces between.
  std::string decode(std::vector<std::string> tokens) const;

 private:
  enum class Kind {
    kBytes,          // characters of the byte alphabet as bytes, joined
    kMarksToSpaces,  // U+2581 as a space
    kDropMarks,      // U+2581 dropped from the first token (Metaspace)
    kByteTokens,     // "<0x41>" as bytes
    kJoin,
    kStrip,
  };
  struct Step {
    Kind kind;
    std::string content = {};  // kStrip: the character
    int64_t start = 0;         // kStrip: at most so many in front
    int64_t stop = 0;          // and at the end
  };
  void read(const JsonValue& json);
  static void apply(const Step& step, std::vector<std::string>& tokens);

  bool present_ = false;
  std::vector<Step> steps_;
};

}  // namespace wush
