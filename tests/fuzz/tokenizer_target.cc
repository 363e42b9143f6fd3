// tokenizer.json, and after a NUL byte a text for it. Ids stay below the
// vocabulary's size, and what was encoded can be decoded.
#include "lib/text/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wush;
  const std::string_view input = testing::as_text(data, size);
  const size_t end = std::min(input.find('\0'), input.size());
  testing::parse_or_refuse([&] {
    const Tokenizer tokenizer =
        Tokenizer::parse(input.substr(0, end), "tokenizer.json");
    const std::string_view text = end < input.size()
                                      ? input.substr(end + 1)
                                      : "Hello  w\u00f6rld 1234\n\u4e2d <t>";
    const std::vector<int32_t> ids = tokenizer.encode(text);
    for (const int32_t id : ids) {
      WUSH_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {}", id);
    }
    tokenizer.decode(ids);
  });
  return 0;
}
