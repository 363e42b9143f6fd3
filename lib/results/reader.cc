#include "lib/results/reader.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "lib/results/folder.h"
#include "lib/results/hdf5_file.h"
#include "lib/results/plan_file.h"
#include "lib/results/record.h"
#include "lib/support/error.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxDifferences = 100;

// A results file as records; a folder looks the same as the file merged from
// it.
struct Loaded {
  hdf5::Content content;
  std::vector<std::string> where;  // "file#/runs/key" of each cell
};

Loaded load_file(const fs::path& path) {
  Loaded loaded;
  loaded.content = std::move(hdf5::read_content({path}).front());
  for (const auto& [key, record] : loaded.content.cells) {
    loaded.where.push_back(fmt::format("{}#/runs/{}", path.string(), key));
  }
  return loaded;
}

Loaded load_folder(const fs::path& folder) {
  const Plan plan = read_plan(folder / "plan.json");
  std::map<std::string, fs::path> files;
  for (const fs::path& file : cell_files(folder)) {
    if (const auto damage = find_damage(file)) {
      throw InputError(folder.string(), *damage);
    }
    files.emplace(parse_cell_file_name(file.filename().string())->key, file);
  }
  std::vector<fs::path> ordered;
  for (const std::string& key : plan.keys) {
    const auto found = files.find(key);
    if (found != files.end()) ordered.push_back(found->second);
  }
  Loaded loaded;
  loaded.content.config = plan.config;
  const std::vector<hdf5::Content> contents = hdf5::read_content(ordered);
  for (std::size_t i = 0; i < contents.size(); ++i) {
    for (const auto& [key, record] : contents[i].cells) {
      loaded.content.cells.emplace_back(key, record);
      loaded.where.push_back(
          fmt::format("{}#/runs/{}", ordered[i].string(), key));
    }
  }
  return loaded;
}

Loaded load(const fs::path& path) {
  std::error_code ignored;
  Loaded loaded =
      fs::is_directory(path, ignored) ? load_folder(path) : load_file(path);
  std::set<std::string_view> keys;
  for (std::size_t i = 0; i < loaded.where.size(); ++i) {
    const std::string& key = loaded.content.cells[i].first;
    if (!is_cell_key(key) || !keys.insert(key).second) {
      throw InputError(loaded.where[i],
                       "expected a key of 32 hexadecimal digits, once");
    }
  }
  return loaded;
}

// ---- Comparison.

class Differences {
 public:
  void add(std::string line) {
    if (lines_.size() < kMaxDifferences) lines_.push_back(std::move(line));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

bool same_bits(double a, double b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}
template <typename T>
bool same_bits(const T& a, const T& b) {
  return a == b;
}

std::string show(const DataValue& value) {
  return std::visit([](const auto& item) { return fmt::format("{}", item); },
                    value);
}

bool same_value(const DataValue& a, const DataValue& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&](const auto& item) {
        return same_bits(item, std::get<std::decay_t<decltype(item)>>(b));
      },
      a);
}

void compare_attributes(const std::map<std::string, DataValue>& a,
                        const std::map<std::string, DataValue>& b,
                        const std::string& where, Differences& out) {
  for (const auto& [name, value] : a) {
    const auto other = b.find(name);
    if (other == b.end()) {
      out.add(fmt::format("{}: attribute {} only in the first", where, name));
    } else if (!same_value(value, other->second)) {
      out.add(fmt::format("{}: attribute {}: {} and {}", where, name,
                          show(value), show(other->second)));
    }
  }
  for (const auto& [name, value] : b) {
    if (!a.contains(name)) {
      out.add(fmt::format("{}: attribute {} only in the second", where, name));
    }
  }
}

template <typename List>
void compare_rows(const List& a, const List& b, const std::string& where,
                  Differences& out) {
  if (a.size() != b.size()) {
    out.add(fmt::format("{}: {} and {} rows", where, a.size(), b.size()));
    return;
  }
  for (std::size_t row = 0; row < a.size(); ++row) {
    if (!same_bits(a[row], b[row])) {
      out.add(fmt::format("{}: row {}: {} and {}", where, row, a[row], b[row]));
    }
  }
}

void compare_tables(const DataTable& a, const DataTable& b,
                    const std::string& where, Differences& out) {
  compare_attributes(a.attributes, b.attributes, where, out);
  const std::size_t columns = std::max(a.columns.size(), b.columns.size());
  for (std::size_t i = 0; i < columns; ++i) {
    const DataColumn* first = i < a.columns.size() ? &a.columns[i] : nullptr;
    const DataColumn* second = i < b.columns.size() ? &b.columns[i] : nullptr;
    if (first == nullptr || second == nullptr || first->name != second->name ||
        first->unit != second->unit ||
        first->values.index() != second->values.index()) {
      out.add(
          fmt::format("{}: column {}: another name, unit or type", where, i));
      continue;
    }
    std::visit(
        [&](const auto& list) {
          compare_rows(list,
                       std::get<std::decay_t<decltype(list)>>(second->values),
                       fmt::format("{}/{}", where, first->name), out);
        },
        first->values);
  }
}

void compare_records(const Record& a, const Record& b, const std::string& key,
                     Differences& out) {
  compare_attributes(a.attributes, b.attributes, key, out);
  std::set<std::string> names;
  for (const auto& [name, table] : a.tables) names.insert(name);
  for (const auto& [name, table] : b.tables) names.insert(name);
  names.erase(std::string(kProvenanceTable));
  for (const std::string& name : names) {
    const auto first = a.tables.find(name);
    const auto second = b.tables.find(name);
    const std::string where = fmt::format("{}: {}", key, name);
    if (first == a.tables.end() || second == b.tables.end()) {
      out.add(fmt::format("{}: only in the {}", where,
                          second == b.tables.end() ? "first" : "second"));
    } else if (is_reproducible(first->second) ||
               is_reproducible(second->second)) {
      compare_tables(first->second, second->second, where, out);
    }
  }
}

}  // namespace

Results read_results(const fs::path& path) {
  const Loaded loaded = load(path);
  Results results;
  results.config = loaded.content.config;
  results.provenance = loaded.content.provenance;
  for (std::size_t i = 0; i < loaded.where.size(); ++i) {
    const auto& [key, record] = loaded.content.cells[i];
    results.cells.push_back(
        {key, to_cell(record, loaded.where[i]), record_provenance(record)});
  }
  return results;
}

std::vector<std::string> compare_results(const fs::path& first,
                                         const fs::path& second) {
  const hdf5::Content a = load(first).content;
  const hdf5::Content b = load(second).content;
  Differences out;
  if (a.config != b.config) out.add("the configurations differ");
  if (a.cells.size() != b.cells.size()) {
    out.add(fmt::format("{} and {} cells", a.cells.size(), b.cells.size()));
  }
  for (std::size_t i = 0; i < std::min(a.cells.size(), b.cells.size()); ++i) {
    const auto& [key, record] = a.cells[i];
    if (key != b.cells[i].first) {
      out.add(fmt::format("cell {}: keys {} and {}", i, key, b.cells[i].first));
    } else {
      compare_records(record, b.cells[i].second, key, out);
    }
  }
  return out.take();
}

}  // namespace wush
