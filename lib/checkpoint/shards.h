// Which safetensors files a checkpoint directory is made of.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace wush {

// Tensor name to the name of the file that holds it.
using WeightMap = std::map<std::string, std::string, std::less<>>;

// The weight_map of a model.safetensors.index.json. File names are plain: no
// folders, ".safetensors" at the end, at most 512 different ones.
// Errors: InputError("index.json#/weight_map/...: expected ..., found ...").
WeightMap parse_shard_index(std::string_view text, const std::string& source);

// The same, read from a file.
WeightMap read_shard_index(const std::filesystem::path& path);

}  // namespace wush
