// Contents of files that may be hostile: HDF5 runs in a child process, which
// sends back packed records.
#include <cstring>

#include "lib/results/hdf5_file.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/isolate.h"

namespace wush::hdf5 {
namespace {

// Limits for reading files of that many bytes together. Memory: HDF5's caches
// take some MiB, the content is held as read, as records and packed. Time:
// about 0.05 s per MiB is what files of many small cells take.
IsolationLimits limits_for(std::uint64_t bytes) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  return {.memory_bytes = 64 * kMiB + 8 * bytes,
          .cpu_seconds = 1.5 + 0.25 * static_cast<double>(bytes / kMiB)};
}

void append_text(std::string_view text, std::string& out) {
  const std::uint64_t size = text.size();
  char bytes[sizeof(size)];
  std::memcpy(bytes, &size, sizeof(size));
  out.append(bytes, sizeof(bytes));
  out += text;
}

std::string_view take_text(std::string_view& bytes, const std::string& where) {
  std::uint64_t size = 0;
  if (bytes.size() >= sizeof(size)) {
    std::memcpy(&size, bytes.data(), sizeof(size));
    bytes.remove_prefix(sizeof(size));
    if (size <= bytes.size()) {
      const std::string_view text = bytes.substr(0, size);
      bytes.remove_prefix(size);
      return text;
    }
  }
  throw InputError(where, "expected a packed content, found other bytes");
}

std::string pack(const Content& content) {
  // The run's provenance travels as attributes of a record.
  Record provenance;
  for (const auto& [name, text] : content.provenance) {
    provenance.attributes[name] = text;
  }
  std::string out;
  append_text(content.config, out);
  append_text(pack_record(provenance), out);
  append_text(std::to_string(content.cells.size()), out);
  for (const auto& [key, record] : content.cells) {
    append_text(key, out);
    append_text(pack_record(record), out);
  }
  return out;
}

Content unpack(std::string_view& bytes, const std::string& where) {
  Content content;
  content.config = take_text(bytes, where);
  const Record provenance = unpack_record(take_text(bytes, where), where);
  for (const auto& [name, value] : provenance.attributes) {
    content.provenance[name] = std::get<std::string>(value);
  }
  const std::size_t cells = std::stoull(std::string(take_text(bytes, where)));
  for (std::size_t i = 0; i < cells; ++i) {
    const std::string key(take_text(bytes, where));
    content.cells.emplace_back(key,
                               unpack_record(take_text(bytes, where), where));
  }
  return content;
}

}  // namespace

std::vector<Content> read_content(
    const std::vector<std::filesystem::path>& paths) {
  if (paths.empty()) return {};
  std::uint64_t total = 0;
  for (const std::filesystem::path& path : paths) {
    total += InputFile(path).size();
  }
  const std::string where = paths.front().string();
  const std::string packed = run_isolated(where, limits_for(total), [&] {
    std::string out;
    for (const std::filesystem::path& path : paths) {
      append_text(pack(read_content_here(path)), out);
    }
    return out;
  });
  std::vector<Content> contents;
  std::string_view rest = packed;
  for (const std::filesystem::path& path : paths) {
    std::string_view one = take_text(rest, path.string());
    contents.push_back(unpack(one, path.string()));
  }
  return contents;
}

}  // namespace wush::hdf5
