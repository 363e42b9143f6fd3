// What analysis reads: a results file (NAME.h5) or the folder of a run
// (NAME.d).
//
// Files may come from strangers. External links, external storage, virtual
// datasets, filters and every object that the schema (results/README.md) does
// not know are refused, and every shape is checked. The HDF5 library itself
// runs in a child process with limits on memory and time, so a file made to
// crash it is one more InputError.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lib/results/cell.h"

namespace wush {

struct StoredCell {
  std::string key;
  CellResult result;
  std::map<std::string, std::string> provenance;  // of the run that computed it
};

struct Results {
  std::string config;                             // the resolved YAML
  std::map<std::string, std::string> provenance;  // of the run that merged
  std::vector<StoredCell> cells;                  // in plan order
};

// Reads NAME.h5 or NAME.d (the cells finished so far; needs no lock). Throws
// InputError in one line: file, object, expected and found.
Results read_results(const std::filesystem::path& path);

// Cells as `wush cells` prints them. JSON: an array of objects with key, model,
// format, transform, method, options, status, error (when failed), metrics
// (perplexity, perplexity_stderr, kl, kl_stderr, agreement; those measured),
// layer_loss, linears and tables. CSV: a header and a row a cell, layer losses
// as columns "mse L.linear" and "signal L.linear". Markdown: one table with the
// parameters that differ between cells and the metrics. Each ends with a
// newline.
std::string cells_to_json(const std::vector<StoredCell>& cells);
std::string cells_to_csv(const std::vector<StoredCell>& cells);
std::string cells_to_markdown(const std::vector<StoredCell>& cells);

// Differences between two results that are not times or provenance, one line
// each ("<key>: perplexity/window_nll: row 3: ..."), at most 100; empty when
// they hold the same bits. Accepts what read_results accepts.
std::vector<std::string> compare_results(const std::filesystem::path& first,
                                         const std::filesystem::path& second);

}  // namespace wush
