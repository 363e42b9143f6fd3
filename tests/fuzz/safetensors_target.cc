// safetensors: what is accepted covers the file's bytes exactly once.
#include "lib/checkpoint/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wush;
  testing::parse_or_refuse([&] {
    const auto file = std::as_bytes(std::span(data, size));
    uint64_t covered = 0;
    std::string_view previous;
    for (const SafetensorsEntry& entry : parse_safetensors(file, "file")) {
      WUSH_CHECK(entry.offset <= size && entry.size <= size - entry.offset,
                 "{} lies outside the file", entry.name);
      WUSH_CHECK(previous < entry.name, "names out of order");
      uint64_t values = 1;
      for (const int64_t dimension : entry.shape) {
        values *= static_cast<uint64_t>(dimension);
      }
      WUSH_CHECK(values * data_type_size(entry.type) == entry.size,
                 "{} of {} bytes", entry.name, entry.size);
      covered += entry.size;
      previous = entry.name;
    }
    uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | data[i];
    WUSH_CHECK(8 + header + covered == size, "{} bytes covered", covered);
  });
  return 0;
}
