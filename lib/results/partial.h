// State of a long cell after each decoder block, so that an interrupted cell
// goes on where it stopped.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace wush {

// What a cell saves: a JSON text of the pipeline's own making (next block,
// records so far) and named float arrays (hidden states), bit for bit.
struct PartialState {
  std::string header;
  std::map<std::string, std::vector<float>> arrays;
};

// Array to save, by name; the values are only read during save().
using NamedArray = std::pair<std::string, std::span<const float>>;

// The file NAME.d/<key>.partial. Got from ResultStore::block_checkpoint, whose
// lock makes this process its only writer.
class BlockCheckpoint {
 public:
  using Report = std::function<void(const std::string& line)>;

  // `quarantine` is the folder to which a damaged file is moved.
  BlockCheckpoint(std::filesystem::path path, std::string key,
                  std::filesystem::path quarantine, Report report);

  // Replaces the file atomically (temporary, fsync, rename, fsync of the
  // folder); the file ends with the SHA-256 of everything before. Throws
  // StorageError.
  void save(const std::string& header,
            const std::vector<NamedArray>& arrays) const;

  // The state last saved; nullopt when there is none. A file that is damaged or
  // belongs to another key is moved to quarantine, reported and counts as none.
  std::optional<PartialState> load() const;

  // Removes the file when it is there.
  void remove() const;

 private:
  std::filesystem::path path_;
  std::string key_;
  std::filesystem::path quarantine_;
  Report report_;
};

}  // namespace wush
