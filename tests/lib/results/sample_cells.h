// Cells with every kind of content, made without computing anything.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lib/results/cell.h"
#include "lib/results/store.h"

namespace wush::testing {

// Cell number `index`: 0 the unquantized model, 1 a quantized one with layer
// losses, linears, perplexity and divergence, 2 one that failed, 3 one with
// repeats, a table of another kind and awkward numbers (NaN, infinity, -0,
// subnormal). Further ones resemble 1.
CellResult sample_cell(int index);

// Key of that cell.
std::string sample_key(int index);

// The plan of the first `count` cells; named "demo".
Plan sample_plan(int count);

// Opens DIRECTORY/demo.d with that plan and stores what is missing, then
// merges.
void run_sweep(const std::filesystem::path& directory, int count,
               std::vector<std::string>* reports = nullptr);

// A report that keeps nothing.
inline void ignore_report(const std::string&) {}

}  // namespace wush::testing
