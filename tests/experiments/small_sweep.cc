#include "tests/experiments/small_sweep.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "tests/experiments/program.h"
#include "tests/lib/checkpoint/tiny_checkpoint.h"
#include "tests/lib/text/small_tokenizers.h"

namespace wush::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kBlocks = 2;
constexpr std::int64_t kHidden = 32, kInner = 64, kVocabulary = 260;
constexpr const char* kShards[] = {"model-00001-of-00002.safetensors",
                                   "model-00002-of-00002.safetensors"};

nlohmann::json small_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", kHidden},
          {"intermediate_size", kInner},
          {"num_hidden_layers", kBlocks},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"vocab_size", kVocabulary},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"hidden_act", "silu"},
          {"bos_token_id", 0},
          {"eos_token_id", 0},
          {"tie_word_embeddings", true},
          {"torch_dtype", "float32"}};
}

// Norms are one, everything else is uniform in [-0.25, 0.25].
std::vector<TensorBytes> small_tensors() {
  std::mt19937 random(5);
  std::vector<TensorBytes> tensors;
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape) {
    const std::int64_t count =
        shape[0] * (shape.size() == 2 ? shape[1] : std::int64_t{1});
    std::string bytes;
    for (std::int64_t i = 0; i < count; ++i) {
      const float value =
          shape.size() == 1
              ? 1.0f
              : static_cast<float>(random() >> 8) / (1 << 25) - 0.25f;
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    tensors.push_back({name, "F32", std::move(shape), bytes});
  };
  add("model.embed_tokens.weight", {kVocabulary, kHidden});
  for (int block = 0; block < kBlocks; ++block) {
    const std::string prefix = "model.layers." + std::to_string(block) + ".";
    add(prefix + "input_layernorm.weight", {kHidden});
    for (const char* name : {"q", "k", "v", "o"}) {
      add(prefix + "self_attn." + name + "_proj.weight", {kHidden, kHidden});
    }
    add(prefix + "post_attention_layernorm.weight", {kHidden});
    add(prefix + "mlp.gate_proj.weight", {kInner, kHidden});
    add(prefix + "mlp.up_proj.weight", {kInner, kHidden});
    add(prefix + "mlp.down_proj.weight", {kHidden, kInner});
  }
  add("model.norm.weight", {kHidden});
  return tensors;
}

}  // namespace

void write_small_model(const fs::path& folder) {
  fs::create_directories(folder);
  write_file(folder / "config.json", small_config().dump(1));
  write_file(folder / "tokenizer.json", byte_level_tokenizer().dump(1));
  const std::vector<TensorBytes> tensors = small_tensors();
  const auto middle = tensors.begin() + 10;
  write_file(folder / kShards[0], safetensors_of({tensors.begin(), middle}));
  write_file(folder / kShards[1], safetensors_of({middle, tensors.end()}));
  nlohmann::ordered_json index;
  for (auto tensor = tensors.begin(); tensor != tensors.end(); ++tensor) {
    index["weight_map"][tensor->name] = kShards[tensor < middle ? 0 : 1];
  }
  write_file(folder / "model.safetensors.index.json", index.dump(1));
}

std::string write_small_sweep(const fs::path& folder) {
  write_small_model(folder / "model");
  std::string text;
  for (int i = 0; i < 300; ++i) text += std::to_string(i * i) + " ab abc\n";
  write_file(folder / "text.txt", text);
  write_file(folder / "small.yaml",
             "name: small\n"
             "models: [{name: small, path: model}]\n"
             "calibration: {text: text.txt, sequences: 4, length: 64}\n"
             "evaluation: {text: text.txt, length: 32, windows: 2}\n"
             "sweep: {format: [mxfp4, nvfp4, int4], transform: wush, "
             "method: gptq}\n"
             "measure: {layer_loss: {layers: [1], windows: 1}, "
             "perplexity: {}, kl: {}}\n");
  return (folder / "small.yaml").string();
}

void write_repeated_demo_model(const fs::path& folder, int times) {
  copy_demo_model(folder);
  nlohmann::json config =
      nlohmann::json::parse(read_text_file(folder / "config.json"));
  const int blocks = config["num_hidden_layers"];
  config["num_hidden_layers"] = blocks * times;
  write_file(folder / "config.json", config.dump(1));

  const std::string file = read_text_file(folder / "model.safetensors");
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), sizeof(header_size));
  const auto header = nlohmann::json::parse(file.substr(8, header_size));
  const std::string layers = "model.layers.";
  std::vector<TensorBytes> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const std::uint64_t begin = entry["data_offsets"][0];
    const std::uint64_t end = entry["data_offsets"][1];
    TensorBytes tensor{name, entry["dtype"], entry["shape"],
                       file.substr(8 + header_size + begin, end - begin)};
    if (name.rfind(layers, 0) != 0) {
      tensors.push_back(tensor);
      continue;
    }
    const std::size_t dot = name.find('.', layers.size());
    const int block = std::stoi(name.substr(layers.size()));
    for (int copy = 0; copy < times; ++copy) {
      tensor.name =
          layers + std::to_string(block + copy * blocks) + name.substr(dot);
      tensors.push_back(tensor);
    }
  }
  write_file(folder / "model.safetensors", safetensors_of(tensors));
}

}  // namespace wush::testing
