#include "lib/results/partial.h"

#include <cstring>
#include <limits>
#include <string_view>

#include "lib/results/folder.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/io.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

// The file: this mark, then as length and bytes the key, the header, and name
// and values of each array, then a length of all ones, then the SHA-256 of all
// that in hexadecimal.
constexpr std::string_view kMark = "wush-partial-1\n";
constexpr std::size_t kDigestLength = 64;
constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();

// Writes bytes and hashes them at once: hidden states may fill gigabytes.
class HashedWriter {
 public:
  explicit HashedWriter(io::File& file) : file_(file) {}
  void raw(std::string_view bytes) {
    file_.write(bytes);
    digest_.update(bytes);
  }
  void length(std::uint64_t value) {
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    raw({bytes, sizeof(bytes)});
  }
  void block(std::string_view bytes) {
    length(bytes.size());
    raw(bytes);
  }
  void finish() { file_.write(digest_.hex()); }

 private:
  io::File& file_;
  Sha256 digest_;
};

// Reads the parts of a file in order and hashes them at once. Nothing is
// allocated for more bytes than the file has left.
class HashedReader {
 public:
  explicit HashedReader(const fs::path& path) : file_(path) {
    if (file_.size() < kDigestLength) refuse();
    left_ = file_.size() - kDigestLength;
  }

  // A string or vector<float> of that many bytes.
  template <typename List>
  List list(std::uint64_t bytes) {
    constexpr std::size_t kItemBytes = sizeof(typename List::value_type);
    if (bytes > left_ || bytes % kItemBytes != 0) refuse();
    List values(bytes / kItemBytes, typename List::value_type());
    take(std::as_writable_bytes(std::span(values)));
    return values;
  }
  std::uint64_t length() {
    std::uint64_t value = 0;
    if (left_ < sizeof(value)) refuse();
    take(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::string text() { return list<std::string>(length()); }

  // At the end: compares the digest.
  void finish() {
    if (left_ != 0) refuse();
    std::string stored(kDigestLength, '\0');
    file_.read(offset_, std::as_writable_bytes(std::span(stored)));
    if (stored != digest_.hex()) refuse();
  }

  [[noreturn]] void refuse() const {
    throw InputError(file_.name(),
                     "expected the state of a cell with its SHA-256 at the "
                     "end, found other bytes");
  }

 private:
  void take(std::span<std::byte> out) {
    file_.read(offset_, out);
    digest_.update(out);
    offset_ += out.size();
    left_ -= out.size();
  }

  InputFile file_;
  Sha256 digest_;
  std::uint64_t offset_ = 0;
  std::uint64_t left_ = 0;  // before the digest at the end
};

PartialState read_partial(const fs::path& path, const std::string& key) {
  HashedReader reader(path);
  if (reader.list<std::string>(kMark.size()) != kMark) reader.refuse();
  const std::string found = reader.text();
  PartialState state;
  state.header = reader.text();
  for (std::uint64_t length = reader.length(); length != kEnd;
       length = reader.length()) {
    std::string name = reader.list<std::string>(length);
    state.arrays[std::move(name)] =
        reader.list<std::vector<float>>(reader.length());
  }
  reader.finish();
  if (found != key) {
    throw InputError(path.string(),
                     fmt::format("expected the state of cell {}, found that "
                                 "of cell {}",
                                 key, printable(found)));
  }
  return state;
}

}  // namespace

BlockCheckpoint::BlockCheckpoint(fs::path path, std::string key,
                                 fs::path quarantine, Report report)
    : path_(std::move(path)),
      key_(std::move(key)),
      quarantine_(std::move(quarantine)),
      report_(std::move(report)) {}

void BlockCheckpoint::save(const std::string& header,
                           const std::vector<NamedArray>& arrays) const {
  io::write_file_atomically(path_, [&](io::File& file) {
    HashedWriter writer(file);
    writer.raw(kMark);
    writer.block(key_);
    writer.block(header);
    for (const auto& [name, values] : arrays) {
      const auto bytes = std::as_bytes(values);
      writer.block(name);
      writer.block({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    writer.length(kEnd);
    writer.finish();
  });
}

std::optional<PartialState> BlockCheckpoint::load() const {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path_, ignored))) return std::nullopt;
  try {
    return read_partial(path_, key_);
  } catch (const InputError& error) {
    const fs::path target = move_to_quarantine(path_, quarantine_);
    report_(fmt::format("{}; moved to {}, the cell starts again", error.what(),
                        target.string()));
    return std::nullopt;
  }
}

void BlockCheckpoint::remove() const { io::remove_file(path_); }

}  // namespace wush
