#include "lib/results/folder.h"

#include <algorithm>

#include "lib/results/hdf5_file.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/support/io.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDigestLength = 64;
constexpr std::string_view kExtension = ".h5";

bool is_hexadecimal(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

bool is_cell_key(std::string_view text) {
  return text.size() == kKeyLength && is_hexadecimal(text);
}

std::string cell_file_name(const std::string& key, const std::string& digest) {
  return key + "-" + digest + std::string(kExtension);
}

std::optional<CellFileName> parse_cell_file_name(std::string_view name) {
  if (name.size() != kKeyLength + 1 + kDigestLength + kExtension.size() ||
      name[kKeyLength] != '-' || !name.ends_with(kExtension)) {
    return std::nullopt;
  }
  const std::string_view key = name.substr(0, kKeyLength);
  const std::string_view digest = name.substr(kKeyLength + 1, kDigestLength);
  if (!is_cell_key(key) || !is_hexadecimal(digest)) return std::nullopt;
  return CellFileName{std::string(key), std::string(digest)};
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    entries.push_back(entry->path());
  }
  if (error) {
    throw InputError(folder.string(),
                     fmt::format("cannot be listed: {}", error.message()));
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<fs::path> cell_files(const fs::path& folder) {
  std::vector<fs::path> files = list_folder(folder);
  std::erase_if(files, [](const fs::path& path) {
    return !parse_cell_file_name(path.filename().string());
  });
  return files;
}

std::optional<std::string> find_damage(const fs::path& file) {
  const auto name = parse_cell_file_name(file.filename().string());
  WUSH_CHECK(name.has_value(), "{} is not a cell file", file.string());
  try {
    const std::string digest = sha256_file(file);
    if (digest == name->digest) return std::nullopt;
    return fmt::format("{}: expected the SHA-256 of its name, found {}",
                       file.string(), digest);
  } catch (const InputError& error) {
    return error.what();
  }
}

fs::path move_to_quarantine(const fs::path& file, const fs::path& quarantine) {
  io::make_directories(quarantine);
  const std::string name = file.filename().string();
  fs::path target = quarantine / name;
  for (int copy = 2; !io::rename_new(file, target); ++copy) {
    target = quarantine / fmt::format("{}.{}", name, copy);
  }
  io::sync_directory(quarantine);
  io::sync_directory(file.parent_path());
  return target;
}

Record read_cell_file(const fs::path& file) {
  const auto name = parse_cell_file_name(file.filename().string());
  WUSH_CHECK(name.has_value(), "{} is not a cell file", file.string());
  std::vector<hdf5::Content> contents = hdf5::read_content({file});
  auto& cells = contents.front().cells;
  if (cells.size() != 1 || cells.front().first != name->key) {
    throw InputError(file.string(),
                     fmt::format("expected the one cell {}, found {} cells",
                                 name->key, cells.size()));
  }
  return std::move(cells.front().second);
}

bool same_numbers(Record first, Record second) {
  for (Record* record : {&first, &second}) {
    std::erase_if(record->tables, [](const auto& entry) {
      return entry.first == kProvenanceTable || !is_reproducible(entry.second);
    });
  }
  return pack_record(first) == pack_record(second);
}

}  // namespace wush
