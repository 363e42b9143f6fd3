// A sweep over a model of a few thousand parameters, for tests that run the
// program hundreds of times.
#pragma once

#include <filesystem>
#include <string>

namespace wush::testing {

// Cells of the small sweep: the unquantized model and three formats.
inline constexpr std::size_t kSmallCells = 4;

// Writes a Llama of two blocks (32 channels, byte-level vocabulary, random
// weights) in two shards, and its tokenizer.
void write_small_model(const std::filesystem::path& folder);

// Writes the model and a text into `folder`, and small.yaml, whose results are
// called "small". Takes about 0.1 s. Returns the path of small.yaml.
std::string write_small_sweep(const std::filesystem::path& folder);

// The embedded model with its decoder blocks `times` times one after another.
void write_repeated_demo_model(const std::filesystem::path& folder, int times);

}  // namespace wush::testing
