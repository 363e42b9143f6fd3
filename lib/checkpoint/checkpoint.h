// A Hugging Face checkpoint directory: config.json and one or more safetensors
// files.
//
// Tensors are read on demand, one at a time, into memory that the caller owns:
// a checkpoint larger than memory can be worked through. The files stay open,
// so replacing one by another of the same name does not mix two checkpoints;
// a file that is written to in place is noticed at the next read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/checkpoint/config.h"
#include "lib/checkpoint/data_type.h"

namespace wush {

struct TensorInfo {
  std::string name;
  DataType type = DataType::kFloat32;
  std::vector<int64_t> shape;  // outermost first
  std::string file;            // name of the safetensors file in the directory
};

class Checkpoint {
 public:
  // Reads config.json and the headers of model.safetensors, or of the shards
  // that model.safetensors.index.json names, and calls check_complete().
  // Errors: InputError for whatever is missing, malformed or not supported.
  static Checkpoint open(const std::filesystem::path& directory);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  const std::filesystem::path& directory() const;
  const ModelConfig& config() const;

  bool has(std::string_view name) const;
  // Errors: InputError when there is no such tensor.
  TensorInfo info(std::string_view name) const;
  // All tensors, sorted by name.
  std::vector<TensorInfo> tensors() const;

  // Widens a tensor to float32 (exactly: from F32, F16 or BF16), row-major.
  // `out` has as many values as `shape`.
  // Errors: InputError when the tensor is absent, has another shape or type, or
  // holds a NaN or an infinity (named with its index).
  void read(std::string_view name, std::span<const int64_t> shape,
            std::span<float> out) const;

  // Lower-case SHA-256 in hex over the bytes of config.json and, in the order
  // of the names, every tensor's name, type, shape and bytes: how a checkpoint
  // is sharded does not matter. Computed at the first call, then remembered.
  std::string digest() const;

  // Checks that every tensor of the architecture is there, with its shape and a
  // type that weights are read from, and that there is none that the forward
  // pass would ignore. Errors: InputError naming the first offender.
  void check_complete() const;

 private:
  struct State;
  explicit Checkpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wush
