// The derived file NAME.h5.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lib/results/hdf5_file.h"
#include "lib/results/store.h"

namespace wush {

// Writes a results file from cell files in the given order, atomically. The
// copying runs in a child process (lib/support/isolate.h), since folders to be
// joined come from other machines. InputError names the cell file that cannot
// be read; StorageError when the result cannot be written.
void write_merged_file(const std::filesystem::path& output,
                       const std::string& config, Provenance provenance,
                       const std::vector<hdf5::CellFile>& cells);

// The time of day as provenance has it: "2026-01-31T12:00:00Z".
std::string utc_now();

}  // namespace wush
