#include "lib/results/merge.h"

#include <map>
#include <set>

#include "lib/results/folder.h"
#include "lib/results/plan_file.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/io.h"
#include "lib/support/isolate.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

// Room for the image of the merged file, its copy and HDF5's caches; time for
// reading each cell, and for copying it.
IsolationLimits merge_limits(const std::vector<hdf5::CellFile>& cells) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  std::uint64_t bytes = 0;
  for (const hdf5::CellFile& cell : cells) bytes += InputFile(cell.path).size();
  return {.memory_bytes = 128 * kMiB + 8 * bytes,
          .cpu_seconds = 2.0 + 0.5 * static_cast<double>(bytes / kMiB) +
                         0.05 * static_cast<double>(cells.size())};
}

// The cells of several folders: the first good file of each key.
class Union {
 public:
  explicit Union(const ResultStore::Report& report) : report_(report) {}

  void add(const fs::path& folder) {
    for (const fs::path& file : cell_files(folder)) {
      if (const auto damage = find_damage(file)) {
        report_(*damage + "; left out");
        continue;
      }
      const std::string key =
          parse_cell_file_name(file.filename().string())->key;
      const auto [entry, is_new] = files_.emplace(key, file);
      if (!is_new) require_same(entry->second, file);
    }
  }

  const std::map<std::string, fs::path>& files() const { return files_; }

 private:
  static void require_same(const fs::path& first, const fs::path& second) {
    if (first.filename() == second.filename()) return;
    if (!same_numbers(read_cell_file(first), read_cell_file(second))) {
      throw InputError(second.string(),
                       fmt::format("expected the numbers of {}, found others",
                                   first.string()));
    }
  }

  const ResultStore::Report& report_;
  std::map<std::string, fs::path> files_;
};

}  // namespace

void write_merged_file(const fs::path& output, const std::string& config,
                       Provenance provenance,
                       const std::vector<hdf5::CellFile>& cells) {
  provenance["merged"] = utc_now();
  const std::string image = run_isolated(
      output.string(), merge_limits(cells),
      [&] { return hdf5::merged_image(config, provenance, cells); });
  io::write_file_atomically(output, image);
}

MergeCount merge_folders(const std::vector<fs::path>& folders,
                         const fs::path& output, const Provenance& provenance,
                         const ResultStore::Report& report) {
  WUSH_CHECK(!folders.empty(), "nothing to merge");
  Union cells(report);
  std::string config;
  std::vector<std::string> order;
  std::set<std::string> planned;
  for (const fs::path& folder : folders) {
    const Plan plan = read_plan(folder / "plan.json");
    if (order.empty()) {
      config = plan.config;
    } else if (plan.config != config) {
      report(
          fmt::format("{}: its configuration differs from that of {}, which "
                      "is the one stored",
                      folder.string(), folders.front().string()));
    }
    for (const std::string& key : plan.keys) {
      if (planned.insert(key).second) order.push_back(key);
    }
    cells.add(folder);
  }
  std::vector<hdf5::CellFile> files;
  for (const std::string& key : order) {
    const auto found = cells.files().find(key);
    if (found != cells.files().end()) files.push_back({key, found->second});
  }
  if (files.size() < cells.files().size()) {
    report(fmt::format("{} finished cells are in no plan; left out",
                       cells.files().size() - files.size()));
  }
  write_merged_file(output, config, provenance, files);
  return {.written = files.size(), .planned = order.size()};
}

}  // namespace wush
