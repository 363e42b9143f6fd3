// The cells of one or several results files, and what tables and figures need
// to know about them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "analysis/planned_sweep.h"
#include "analysis/table.h"
#include "lib/results/reader.h"

namespace wush {

// One results file as read, with what its sweep was to compute.
struct ResultsFile {
  std::filesystem::path path;
  Results results;
  PlannedSweep plan;
};

struct ResultSet {
  std::vector<ResultsFile> files;
  // Every cell once, in the order of the files; a key that two files hold is
  // taken from the first, and so is the unquantized model on the same
  // evaluation text. Where the files differ in their texts or numbers of
  // windows, these are added to the options under the names of
  // PlannedSweep::texts.
  std::vector<StoredCell> cells;
  std::vector<std::string> notes;  // cells that were left out, and why
};

// Reads all files. Throws InputError for the first that cannot be read.
ResultSet read_result_set(const std::vector<std::filesystem::path>& paths);

// Planned cells that the results do not hold, a line a file.
std::vector<std::string> missing_cells(const ResultSet& set);

// The same and finished cells without a measurement, with how to compute it;
// `measurement` is its name under `measure:` in an experiment file.
std::vector<std::string> missing_measurements(
    const ResultSet& set, const std::string& measurement,
    bool (*has)(const CellResult& result));

// Do the results hold cells of this model?
bool has_model(const ResultSet& set, const std::string& model);

// Is this the unquantized model?
bool is_reference(const StoredCell& cell);

// "wush", "kbbq(0.75)": transform with its parameter.
std::string transform_label(const CellParameters& parameters);

// " weight_scale=search transform_block=64": those of the options that the cell
// has, each after a blank.
std::string option_label(const CellParameters& parameters,
                         const std::vector<std::string>& options);

// "nano mxfp4 wush gptq weight_scale=search": the parameters in one line, with
// the options given.
std::string cell_label(const CellParameters& parameters,
                       const std::vector<std::string>& options);

// Names of the options whose value differs between cells, sorted; the
// unquantized model, which ignores them, does not count, nor does `lambda`,
// which transform_label() shows.
std::vector<std::string> varying_options(const std::vector<StoredCell>& cells);

// The columns that say which cell a row is about: model, format, transform,
// method and the options that vary.
class ParameterColumns {
 public:
  explicit ParameterColumns(const std::vector<StoredCell>& cells);

  const std::vector<std::string>& options() const { return options_; }
  // The columns to begin a table with.
  std::vector<Column> columns() const;
  // The values of one cell under them.
  std::vector<Value> values(const CellParameters& parameters) const;
  // The same for a published row, which has no options.
  std::vector<Value> values(const std::string& model, const std::string& format,
                            const std::string& transform,
                            const std::string& method) const;

 private:
  std::vector<std::string> options_;
};

// The cell that another is compared with: overrides of the cell's own
// parameters ("transform=hadamard,method=rtn", "format=none", "lambda=1").
class Baseline {
 public:
  // Throws InputError when the text is not a list of NAME=VALUE.
  explicit Baseline(const std::string& text);

  const std::string& text() const { return text_; }
  // The one cell with the overridden parameters; options that only one of two
  // cells has (lambda) do not count. Null when there is none or the cell
  // itself. Throws InputError when several cells match.
  const StoredCell* find(const std::vector<StoredCell>& cells,
                         const StoredCell& cell) const;

 private:
  std::string text_;
  std::vector<std::pair<std::string, std::string>> overrides_;
};

// What the differences of a section are from, or that there is nothing to take
// them from: `column` is the column that holds them.
std::string baseline_note(const Baseline& baseline, const Section& section,
                          std::size_t column);

struct Estimate {
  double mean = 0;
  double standard_error = 0;  // standard deviation / sqrt(n); 0 for n = 1
};

// Mean and standard error of independent values; at least one.
Estimate estimate(const std::vector<double>& values);

// Mean of a[i] - b[i] with the standard error of paired values; nothing when
// the sizes differ or are zero.
std::optional<Estimate> paired_difference(const std::vector<double>& a,
                                          const std::vector<double>& b);

// One line for each cell that failed, took a larger damping than asked, fell
// back to another method or met blocks without any signal. Every table adds
// these to its notes.
std::vector<std::string> record_notes(const std::vector<StoredCell>& cells,
                                      const std::vector<std::string>& options);

}  // namespace wush
