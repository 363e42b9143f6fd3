// A complete Llama checkpoint of a few hundred bytes, to be damaged by tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace wush::testing {

// One tensor to be written; `bytes` need not fit the shape.
struct TensorBytes {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  std::string bytes;
};

void write_file(const std::filesystem::path& path, const std::string& content);

// u64 header size, header text, data.
std::string safetensors_bytes(const std::string& header,
                              const std::string& data);

// A file that holds the tensors one after the other.
std::string safetensors_of(const std::vector<TensorBytes>& tensors);

// config.json of the tiny model: hidden 8, intermediate 6, one layer, two heads
// of 4, one key-value head, vocabulary 5, untied.
nlohmann::json tiny_config();

// Its tensors, F32, with the values 1/8, 2/8, ... in each.
std::vector<TensorBytes> tiny_tensors();

// Writes config.json and model.safetensors.
void write_tiny_checkpoint(const std::filesystem::path& folder);

// Writes config.json, two shards and their index.
void write_sharded_checkpoint(const std::filesystem::path& folder);

}  // namespace wush::testing
