// config.json: what is accepted has sizes and frequencies that can be used.
#include <cmath>

#include "lib/checkpoint/config.h"
#include "lib/checkpoint/tensor_names.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wush;
  testing::parse_or_refuse([&] {
    const ModelConfig config =
        parse_config(testing::as_text(data, size), "config.json");
    WUSH_CHECK(config.num_attention_heads % config.num_key_value_heads == 0,
               "{} heads", config.num_attention_heads);
    WUSH_CHECK(static_cast<int64_t>(config.sliding_window.size()) ==
                   config.num_hidden_layers,
               "{} layers", config.num_hidden_layers);
    const std::vector<double> frequencies = rope_inverse_frequencies(config);
    WUSH_CHECK(static_cast<int64_t>(frequencies.size()) == config.head_dim / 2,
               "{} frequencies", frequencies.size());
    for (const double frequency : frequencies) {
      WUSH_CHECK(std::isfinite(frequency) && frequency >= 0.0, "frequency {}",
                 frequency);
    }
    WUSH_CHECK(block_tensors(config, 0).size() >= 9, "tensors of a block");
  });
  return 0;
}
