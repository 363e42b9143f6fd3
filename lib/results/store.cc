#include "lib/results/store.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "lib/results/folder.h"
#include "lib/results/hdf5_file.h"
#include "lib/results/merge.h"
#include "lib/results/plan_file.h"
#include "lib/results/record.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/io.h"
#include "lib/support/lock.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlanFile = "plan.json";
constexpr const char* kPartialExtension = ".partial";

fs::path checked_folder(const fs::path& directory, const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos) {
    throw InputError("name", fmt::format("expected a file name without \"/\", "
                                         "found \"{}\"",
                                         printable(name)));
  }
  return directory / (name + ".d");
}

// Makes the folder before the lock inside it can be taken.
fs::path created(const fs::path& folder) {
  io::make_directories(folder);
  return folder;
}

// Reads the temporary file back and compares it, first as bytes, then as what
// HDF5 finds in it.
void verify_cell_file(const fs::path& path, const std::string& image,
                      const std::string& key, const Record& record) {
  try {
    if (read_input_file(path, image.size()) != image) {
      throw StorageError(fmt::format(
          "{}: expected the bytes just written, found others", path.string()));
    }
    const hdf5::Content content = hdf5::read_content_here(path);
    if (content.cells.size() != 1 || content.cells.front().first != key ||
        pack_record(content.cells.front().second) != pack_record(record)) {
      throw StorageError(fmt::format(
          "{}: expected the cell just written, found another", path.string()));
    }
  } catch (const InputError& error) {
    throw StorageError(error.what());
  }
}

}  // namespace

std::string cell_key(const CellParameters& parameters,
                     const std::map<std::string, std::string>& inputs) {
  // nlohmann::json keeps keys sorted, and dump() writes no white space.
  const nlohmann::json json = {
      {"model", parameters.model},         {"format", parameters.format},
      {"transform", parameters.transform}, {"method", parameters.method},
      {"options", parameters.options},     {"inputs", inputs}};
  return sha256_hex(json.dump()).substr(0, kKeyLength);
}

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

struct ResultStore::Impl {
  Impl(const fs::path& directory, Plan the_plan, Provenance the_provenance,
       Report the_report)
      : plan(std::move(the_plan)),
        provenance(std::move(the_provenance)),
        report(std::move(the_report)),
        folder(created(checked_folder(directory, plan.name))),
        output(directory / (plan.name + ".h5")),
        lock(folder / "LOCK"),
        planned(plan.keys.begin(), plan.keys.end()) {
    check_plan_on_disk();
    remove_temporaries();
    take_stock();
    remove_old_partials();
    // What the last run renamed may not have been made to last before it died.
    io::sync_directory(folder);
  }

  fs::path quarantine() const { return folder / "quarantine"; }
  fs::path partial(const std::string& key) const {
    return folder / (key + kPartialExtension);
  }
  void require_planned(const std::string& key) const {
    WUSH_CHECK(planned.contains(key), "cell {} is not in the plan", key);
  }

  void check_plan_on_disk();
  void remove_temporaries() const;
  void take_stock();
  void remove_old_partials() const;

  Plan plan;
  Provenance provenance;
  Report report;
  fs::path folder;
  fs::path output;
  DirectoryLock lock;
  std::set<std::string> planned;
  std::map<std::string, fs::path> finished;  // key -> file, also unplanned ones
};

// Writes plan.json unless it is there already.
void ResultStore::Impl::check_plan_on_disk() {
  const fs::path path = folder / kPlanFile;
  const std::string text = plan_text(plan);
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(path, ignored))) {
    try {
      if (plan_text(read_plan(path)) == text) return;
      report(
          fmt::format("{}: the plan has changed; cells of the former plan "
                      "that it shares are kept",
                      path.string()));
    } catch (const SchemaVersionError&) {
      throw;
    } catch (const InputError& error) {
      report(fmt::format("{}; moved to {}", error.what(),
                         move_to_quarantine(path, quarantine()).string()));
    }
  }
  io::write_file_atomically(path, text);
}

// Temporaries of runs that died; the lock says that they are nobody else's.
void ResultStore::Impl::remove_temporaries() const {
  for (const fs::path& path : list_folder(folder)) {
    if (io::is_temporary(path.filename().string())) io::remove_file(path);
  }
  for (const fs::path& path : list_folder(folder.parent_path() / ".")) {
    if (io::is_temporary(path.filename().string(),
                         output.filename().string())) {
      io::remove_file(path);
    }
  }
}

// Lists the cells whose digest is right and moves the others to quarantine.
void ResultStore::Impl::take_stock() {
  std::size_t unplanned = 0;
  for (const fs::path& file : cell_files(folder)) {
    std::optional<std::string> damage = find_damage(file);
    const std::string key = parse_cell_file_name(file.filename().string())->key;
    const auto first = finished.find(key);
    if (!damage && first != finished.end()) {
      damage = fmt::format("{}: expected one file for a cell, found also {}",
                           file.string(), first->second.filename().string());
    }
    if (damage) {
      report(fmt::format("{}; moved to {}", *damage,
                         move_to_quarantine(file, quarantine()).string()));
      continue;
    }
    finished[key] = file;
    if (!planned.contains(key)) ++unplanned;
  }
  if (unplanned > 0) {
    report(
        fmt::format("{}: {} finished cells are not in the plan; they are "
                    "kept but not merged",
                    folder.string(), unplanned));
  }
}

// A run may die between storing a cell and removing its partial state.
void ResultStore::Impl::remove_old_partials() const {
  for (const auto& [key, file] : finished) {
    std::error_code ignored;
    if (fs::exists(partial(key), ignored)) io::remove_file(partial(key));
  }
}

ResultStore::ResultStore(const fs::path& directory, Plan plan,
                         Provenance provenance, Report report)
    : impl_(std::make_unique<Impl>(directory, std::move(plan),
                                   std::move(provenance), std::move(report))) {}

ResultStore::~ResultStore() = default;

fs::path ResultStore::folder() const { return impl_->folder; }

fs::path ResultStore::merged_file() const { return impl_->output; }

bool ResultStore::finished(const std::string& key) const {
  return impl_->finished.contains(key);
}

std::vector<std::string> ResultStore::finished_keys() const {
  std::vector<std::string> keys;
  for (const std::string& key : impl_->plan.keys) {
    if (finished(key)) keys.push_back(key);
  }
  return keys;
}

std::vector<std::string> ResultStore::missing_keys() const {
  std::vector<std::string> keys;
  for (const std::string& key : impl_->plan.keys) {
    if (!finished(key)) keys.push_back(key);
  }
  return keys;
}

void ResultStore::put(const std::string& key, const CellResult& cell) {
  impl_->require_planned(key);
  WUSH_CHECK(!finished(key), "cell {} is stored already", key);
  Provenance provenance = impl_->provenance;
  provenance["finished"] = utc_now();
  const Record record = to_record(cell, provenance);
  const std::string image = hdf5::cell_image(key, record);
  const fs::path path = impl_->folder / cell_file_name(key, sha256_hex(image));
  const bool stored = io::write_file_atomically(
      path, [&](io::File& file) { file.write(image); }, io::Replace::kNo,
      [&](const fs::path& temporary) {
        verify_cell_file(temporary, image, key, record);
      });
  if (!stored) {
    throw StorageError(
        fmt::format("{}: expected no file, found one", path.string()));
  }
  impl_->finished[key] = path;
  block_checkpoint(key).remove();
}

std::optional<CellResult> ResultStore::get(const std::string& key) const {
  const auto found = impl_->finished.find(key);
  if (found == impl_->finished.end()) return std::nullopt;
  const std::string where = found->second.string() + "#/runs/" + key;
  return to_cell(read_cell_file(found->second), where);
}

BlockCheckpoint ResultStore::block_checkpoint(const std::string& key) const {
  impl_->require_planned(key);
  return BlockCheckpoint(impl_->partial(key), key, impl_->quarantine(),
                         impl_->report);
}

void ResultStore::merge() const {
  std::vector<hdf5::CellFile> cells;
  for (const std::string& key : finished_keys()) {
    cells.push_back({key, impl_->finished.at(key)});
  }
  write_merged_file(impl_->output, impl_->plan.config, impl_->provenance,
                    cells);
}

std::vector<std::string> stored_keys(const fs::path& folder) {
  std::vector<std::string> keys;
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return keys;
  for (const fs::path& file : cell_files(folder)) {
    if (find_damage(file)) continue;
    const std::string key = parse_cell_file_name(file.filename().string())->key;
    if (keys.empty() || keys.back() != key) keys.push_back(key);
  }
  return keys;
}

}  // namespace wush
