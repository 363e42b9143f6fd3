// The files of a NAME.d folder: names, digests, quarantine.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/results/record.h"

namespace wush {

// Length of a cell key: hexadecimal digits.
inline constexpr std::size_t kKeyLength = 32;

bool is_cell_key(std::string_view text);

// <key>-<digest>.h5
std::string cell_file_name(const std::string& key, const std::string& digest);

struct CellFileName {
  std::string key;
  std::string digest;
};
// The parts of a cell file's name; nothing when it is not one.
std::optional<CellFileName> parse_cell_file_name(std::string_view name);

// What lies in a folder, sorted. InputError when it cannot be listed.
std::vector<std::filesystem::path> list_folder(
    const std::filesystem::path& folder);

// The cell files of a folder, sorted.
std::vector<std::filesystem::path> cell_files(
    const std::filesystem::path& folder);

// Why a cell file does not hold what its name says; nothing when it does.
std::optional<std::string> find_damage(const std::filesystem::path& file);

// Moves a file into the quarantine folder (created when absent) under its own
// name, or name.2, name.3, ... when that is taken, and makes the move last.
// Returns where it went. Throws StorageError.
std::filesystem::path move_to_quarantine(
    const std::filesystem::path& file, const std::filesystem::path& quarantine);

// The record that the cell file holds. InputError when it is not one cell with
// the key of its name.
Record read_cell_file(const std::filesystem::path& file);

// Whether two records hold the same bits, provenance aside.
bool same_numbers(Record first, Record second);

}  // namespace wush
