// wush inspect: what a checkpoint directory holds.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "experiments/commands.h"
#include "kernels/numerics/format.h"
#include "lib/checkpoint/checkpoint.h"
#include "lib/checkpoint/safetensors.h"
#include "lib/metrics/storage.h"
#include "lib/text/tokenizer.h"

namespace wush {
namespace {

constexpr double kMillion = 1e6;
constexpr double kMebibyte = 1 << 20;

// "model.layers.3.mlp.up_proj.weight" -> "model.layers.*.mlp.up_proj.weight"
std::string without_layer(const std::string& name) {
  const std::string prefix = "model.layers.";
  if (!name.starts_with(prefix)) return name;
  std::size_t end = prefix.size();
  while (end < name.size() && std::isdigit(name[end]) != 0) ++end;
  return prefix + "*" + name.substr(end);
}

double count_values(const TensorInfo& tensor) {
  return std::accumulate(
      tensor.shape.begin(), tensor.shape.end(), 1.0,
      [](double a, std::int64_t b) { return a * static_cast<double>(b); });
}

void print_architecture(const ModelConfig& config) {
  fmt::print("architecture  {}\n", config.model_type);
  fmt::print("blocks        {}\n", config.num_hidden_layers);
  fmt::print("hidden size   {}, intermediate {}\n", config.hidden_size,
             config.intermediate_size);
  fmt::print(
      "attention     {} heads over {} key/value heads, head size {}{}{}\n",
      config.num_attention_heads, config.num_key_value_heads, config.head_dim,
      config.qk_norm ? ", q and k normed" : "",
      config.qkv_bias ? ", q, k and v with biases" : "");
  std::map<std::int64_t, int> windows;
  for (const std::int64_t window : config.sliding_window) ++windows[window];
  for (const auto& [window, layers] : windows) {
    if (window > 0) {
      fmt::print("window        {} tokens in {} blocks\n", window, layers);
    }
  }
  fmt::print("rope          {}, theta {}\n", rope_type_name(config.rope.type),
             config.rope.theta);
  fmt::print(
      "vocabulary    {}{}\n", config.vocab_size,
      config.tie_word_embeddings ? ", lm_head tied to the embedding" : "");
  fmt::print("context       {} tokens\n", config.max_position_embeddings);
}

void print_tensors(const std::vector<TensorInfo>& tensors) {
  // (name, shape, type) -> number of blocks that have it
  std::map<std::tuple<std::string, std::string, std::string>, int> kinds;
  double values = 0;
  for (const TensorInfo& tensor : tensors) {
    ++kinds[{without_layer(tensor.name), format_shape(tensor.shape),
             std::string(data_type_name(tensor.type))}];
    values += count_values(tensor);
  }
  fmt::print("parameters    {:.1f} M in {} tensors\n", values / kMillion,
             tensors.size());
  fmt::print("\n{:<52} {:>16} {:>6} {:>6}\n", "tensor", "shape", "type",
             "number");
  for (const auto& [kind, number] : kinds) {
    const auto& [name, shape, type] = kind;
    fmt::print("{:<52} {:>16} {:>6} {:>6}\n", name, shape, type, number);
  }
}

// Storage of the quantized checkpoint per format; transforms are those of wush
// in bfloat16.
void print_quantized(const ModelConfig& config) {
  fmt::print(
      "\nquantized: q, k, v, o, gate, up and down projection of every block\n");
  fmt::print("{:<12} {:>12} {:>12} {:>12} {:>12}\n", "format", "bits/weight",
             "MiB", "transforms", "+ MiB");
  for (std::size_t i = 0; i < numerics::kBlockFormats.size(); ++i) {
    const std::string name(numerics::kBlockFormats[i].name);
    try {
      const CheckpointStorage storage =
          checkpoint_storage(config, static_cast<numerics::Format>(i), {});
      fmt::print("{:<12} {:>12.2f} {:>12.1f} {:>11.1f}% {:>12.1f}\n", name,
                 storage.bits_per_weight(),
                 static_cast<double>(storage.checkpoint_bytes()) / kMebibyte,
                 storage.transform_percent(),
                 static_cast<double>(storage.transform_bytes) / kMebibyte);
    } catch (const InputError& error) {
      fmt::print("{:<12} not possible: {}\n", name, error.what());
    }
  }
}

ExitCode inspect(const std::string& directory) {
  const Checkpoint checkpoint = Checkpoint::open(directory);
  const Tokenizer tokenizer = Tokenizer::load(directory);
  fmt::print("checkpoint    {}\n", directory);
  print_architecture(checkpoint.config());
  fmt::print("tokenizer     {} tokens\n", tokenizer.vocab_size());
  print_tensors(checkpoint.tensors());
  print_quantized(checkpoint.config());
  return ExitCode::kDone;
}

}  // namespace

void add_inspect(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "inspect", "What a checkpoint holds and what would be quantized");
  const auto directory = std::make_shared<std::string>();
  command
      ->add_option("checkpoint", *directory,
                   "A Hugging Face checkpoint directory")
      ->required()
      ->type_name("CHECKPOINT");
  command->footer("Example:\n  wush inspect experiments/demo/model");
  command->callback([directory, &action] {
    action = [directory] { return inspect(*directory); };
  });
}

}  // namespace wush
