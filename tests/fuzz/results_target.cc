// Results files (HDF5), and records as they come from the process that reads
// them: what is read is what the schema says, and it survives being stored
// again.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "lib/results/hdf5_file.h"
#include "lib/results/reader.h"
#include "lib/results/record.h"
#include "tests/fuzz/fuzz_target.h"

// The HDF5 library leaks on some malformed files; the program reads them in a
// child process, where that does not matter.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace wush {
namespace {

// A file in memory that has a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes)
      : descriptor_(::memfd_create("results", MFD_CLOEXEC)),
        path_(fmt::format("/proc/self/fd/{}", descriptor_)) {
    WUSH_CHECK(descriptor_ >= 0, "no file in memory");
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    WUSH_CHECK(written == static_cast<ssize_t>(bytes.size()), "short write");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  int descriptor_;
  std::string path_;
};

// A cell that can be stored reads back the same.
void check_cell(const CellResult& cell) {
  try {
    const Record record = to_record(cell, {});
    const CellResult again = to_cell(record, "file#/runs/key");
    WUSH_CHECK(pack_record(to_record(again, {})) == pack_record(record),
               "a cell changed on its way to a record and back");
  } catch (const StorageError&) {
    // Names and texts that a record may hold and a file may not.
  }
}

// Reads as the program does. False when that ended the child process.
bool read_isolated(const std::string& path) {
  bool survived = true;
  testing::parse_or_refuse([&] {
    try {
      const Results results = read_results(path);
      for (const StoredCell& cell : results.cells) check_cell(cell.result);
      cells_to_json(results.cells);
    } catch (const InputError& error) {
      const std::string_view message = error.what();
      survived = message.find(": reading it ends in a crash") ==
                     std::string_view::npos &&
                 message.find(": reading it takes") == std::string_view::npos;
      throw;
    }
  });
  return survived;
}

void read_file(std::string_view bytes) {
  const MemoryFile file(bytes);
  // What happens in a child tells libFuzzer nothing, so what the child survives
  // is done again here. Without its signature HDF5 looks no further at a file,
  // and the child's time is better spent on others.
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  const bool is_hdf5 = bytes.find(kSignature) != std::string_view::npos;
  if (is_hdf5 && !read_isolated(file.path())) return;
  testing::parse_or_refuse([&] { hdf5::read_content_here(file.path()); });
}

void read_record(std::string_view bytes) {
  testing::parse_or_refuse([&] {
    const Record record = unpack_record(bytes, "file");
    WUSH_CHECK(pack_record(unpack_record(pack_record(record), "file")) ==
                   pack_record(record),
               "a record changed on its way to bytes and back");
    check_cell(to_cell(record, "file#/runs/key"));
  });
}

}  // namespace
}  // namespace wush

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = wush::testing::as_text(data, size);
  wush::read_file(bytes);
  wush::read_record(bytes);
  return 0;
}
