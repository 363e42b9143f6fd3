// Where a sweep keeps its cells while it runs: NAME.d, one file per cell, and
// NAME.h5, which is derived from them.
//
//   NAME.d/LOCK                 held for the whole run (lib/support/lock.h)
//   NAME.d/plan.json            schema version, configuration, digests, keys
//   NAME.d/<key>-<sha256>.h5    one finished cell; the name holds the checksum
//   NAME.d/<key>.partial        state of a cell that is not finished
//   NAME.d/quarantine/          files whose checksum did not match
//
// A cell is done only when its file is written, read back and compared,
// fsynced, renamed without replacing, and the folder fsynced: then neither
// SIGKILL nor a power cut loses it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/results/cell.h"
#include "lib/results/partial.h"

namespace wush {

// Version, compiler, machine, digests, times ...: name -> text.
using Provenance = std::map<std::string, std::string>;

// What a run is about to compute, as plan.json keeps it.
struct Plan {
  std::string name;    // of the experiment; a file name without '/'
  std::string config;  // the resolved configuration, YAML
  std::map<std::string, std::string> digests;  // "model nano" -> SHA-256, ...
  std::vector<std::string> keys;               // every cell, in plan order
};

// Key of a cell: the first 32 hexadecimal digits of the SHA-256 of the
// canonical JSON (sorted keys, no white space) of its parameters and of
// `inputs`, which holds everything else that can change the numbers: digests of
// checkpoint and texts, calibration and measurement settings, seed, numeric
// mode.
std::string cell_key(const CellParameters& parameters,
                     const std::map<std::string, std::string>& inputs);

class ResultStore {
 public:
  // Called with one line for everything a user should know: a file moved to
  // quarantine, a plan that changed, a cell that is no longer in the plan.
  using Report = std::function<void(const std::string& line)>;

  // Opens (or creates) DIRECTORY/NAME.d: takes the lock, removes temporaries of
  // dead runs, checks the digest of every cell file and moves those that fail
  // to quarantine, writes plan.json. Throws LockedError (exit code 4) when
  // another run holds the folder, StorageError (3), or InputError (2) when the
  // folder was written with another schema version.
  ResultStore(const std::filesystem::path& directory, Plan plan,
              Provenance provenance, Report report);
  ~ResultStore();
  ResultStore(const ResultStore&) = delete;
  ResultStore& operator=(const ResultStore&) = delete;

  std::filesystem::path folder() const;       // DIRECTORY/NAME.d
  std::filesystem::path merged_file() const;  // DIRECTORY/NAME.h5

  // Whether the cell is stored (with status done or failed).
  bool finished(const std::string& key) const;
  // Keys of the plan that are finished / still missing, in plan order.
  std::vector<std::string> finished_keys() const;
  std::vector<std::string> missing_keys() const;

  // Stores a cell of the plan; when it returns, the cell is on disk. Removes
  // the cell's partial state. The key may not be finished already. Throws
  // StorageError, in which case the cell counts as missing.
  void put(const std::string& key, const CellResult& cell);

  // Reads a finished cell back; nullopt when it is missing.
  std::optional<CellResult> get(const std::string& key) const;

  // Partial state of an unfinished cell.
  BlockCheckpoint block_checkpoint(const std::string& key) const;

  // Writes NAME.h5 from all finished cells in plan order.
  void merge() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Joins NAME.d folders (runs of one experiment on several machines) into one
// results file: cells in the order of the first folder's plan, then those that
// only later plans have. The configuration is the first folder's. A cell that
// two folders hold has to have the same numbers, else InputError; a file whose
// digest does not match is left out and reported. Folders are only read.
// Returns the number of cells written and the number of cells the plans name.
struct MergeCount {
  std::size_t written = 0;
  std::size_t planned = 0;
};
MergeCount merge_folders(const std::vector<std::filesystem::path>& folders,
                         const std::filesystem::path& output,
                         const Provenance& provenance,
                         const ResultStore::Report& report);

// Keys of the cells stored in a NAME.d folder whose digests match, sorted;
// empty when the folder does not exist. Needs no lock and writes nothing.
std::vector<std::string> stored_keys(const std::filesystem::path& folder);

}  // namespace wush
