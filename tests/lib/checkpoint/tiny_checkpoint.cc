#include "tests/lib/checkpoint/tiny_checkpoint.h"

#include <fstream>
#include <stdexcept>

namespace wush::testing {

void write_file(const std::filesystem::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path.string());
}

std::string safetensors_bytes(const std::string& header,
                              const std::string& data) {
  std::string out;
  for (int i = 0; i < 8; ++i) {
    out += static_cast<char>((header.size() >> (8 * i)) & 0xFF);
  }
  return out + header + data;
}

std::string safetensors_of(const std::vector<TensorBytes>& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::string data;
  for (const TensorBytes& tensor : tensors) {
    header[tensor.name] = {
        {"dtype", tensor.type},
        {"shape", tensor.shape},
        {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  return safetensors_bytes(header.dump(), data);
}

nlohmann::json tiny_config() {
  return nlohmann::json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
    "vocab_size": 5, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 0,
    "eos_token_id": [1, 2], "torch_dtype": "float32"})");
}

std::vector<TensorBytes> tiny_tensors() {
  std::vector<TensorBytes> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dimension : shape) count *= dimension;
    std::string bytes;
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(i + 1) / 8.0f;
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    tensors.push_back({name, "F32", std::move(shape), bytes});
  };
  const std::string block = "model.layers.0.";
  add("lm_head.weight", {5, 8});
  add("model.embed_tokens.weight", {5, 8});
  add(block + "input_layernorm.weight", {8});
  add(block + "mlp.down_proj.weight", {8, 6});
  add(block + "mlp.gate_proj.weight", {6, 8});
  add(block + "mlp.up_proj.weight", {6, 8});
  add(block + "post_attention_layernorm.weight", {8});
  add(block + "self_attn.k_proj.weight", {4, 8});
  add(block + "self_attn.o_proj.weight", {8, 8});
  add(block + "self_attn.q_proj.weight", {8, 8});
  add(block + "self_attn.v_proj.weight", {4, 8});
  add("model.norm.weight", {8});
  return tensors;
}

void write_tiny_checkpoint(const std::filesystem::path& folder) {
  write_file(folder / "config.json", tiny_config().dump(1));
  write_file(folder / "model.safetensors", safetensors_of(tiny_tensors()));
}

void write_sharded_checkpoint(const std::filesystem::path& folder) {
  write_file(folder / "config.json", tiny_config().dump(1));
  const std::vector<TensorBytes> tensors = tiny_tensors();
  const auto middle = tensors.begin() + 6;
  const std::string names[] = {"model-00001-of-00002.safetensors",
                               "model-00002-of-00002.safetensors"};
  write_file(folder / names[0], safetensors_of({tensors.begin(), middle}));
  write_file(folder / names[1], safetensors_of({middle, tensors.end()}));
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = 0;
  for (auto tensor = tensors.begin(); tensor != tensors.end(); ++tensor) {
    index["weight_map"][tensor->name] = names[tensor < middle ? 0 : 1];
  }
  write_file(folder / "model.safetensors.index.json", index.dump(1));
}

}  // namespace wush::testing
