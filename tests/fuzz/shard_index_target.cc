// model.safetensors.index.json: no accepted name leaves the directory.
#include <filesystem>

#include "lib/checkpoint/shards.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wush;
  testing::parse_or_refuse([&] {
    const WeightMap map =
        parse_shard_index(testing::as_text(data, size), "index.json");
    for (const auto& [tensor, file] : map) {
      const std::filesystem::path path =
          (std::filesystem::path("/folder") / file).lexically_normal();
      WUSH_CHECK(path.parent_path() == "/folder" && path.has_filename(),
                 "{} leaves the folder", file);
    }
  });
  return 0;
}
