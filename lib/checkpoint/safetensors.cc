#include "lib/checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>

#include "lib/support/error.h"
#include "lib/support/json.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr uint64_t kPrefixBytes = 8;             // the header's size
constexpr uint64_t kMaxHeaderBytes = 100000000;  // as in the reference library
constexpr size_t kMaxTensors = 65536;
constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxDimensions = 8;

// Limits that 65536 tensors of two dimensions stay within (8 values each), and
// that keep what is parsed below 64 MiB beside the header's own text.
constexpr JsonLimits kHeaderLimits = {.max_bytes = kMaxHeaderBytes,
                                      .max_depth = 4,
                                      .max_values = 600000,
                                      .max_string_bytes = 1 << 20,
                                      .max_total_string_bytes = 12 << 20};

uint64_t read_little_endian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = kPrefixBytes; i-- > 0;) {
    value = (value << 8) | std::to_integer<uint64_t>(bytes[i]);
  }
  return value;
}

// The header's size, once it is known to fit the file.
uint64_t checked_header_size(std::span<const std::byte> prefix,
                             uint64_t file_size, const std::string& source) {
  const uint64_t size = read_little_endian(prefix);
  if (size == 0 || size > kMaxHeaderBytes) {
    throw InputError(source,
                     fmt::format("expected a header of 1 to {} bytes, found {}",
                                 kMaxHeaderBytes, size));
  }
  if (size > file_size - kPrefixBytes) {
    throw InputError(
        source, fmt::format("expected a header of {} bytes after the first 8, "
                            "found a file of {} bytes",
                            size, file_size));
  }
  return size;
}

void check_prefix(uint64_t file_size, const std::string& source) {
  if (file_size < kPrefixBytes) {
    throw InputError(
        source, fmt::format("expected at least 8 bytes, found {}", file_size));
  }
}

std::vector<int64_t> read_shape(const JsonValue& value) {
  const std::vector<JsonValue> elements = value.elements();
  if (elements.size() > kMaxDimensions) {
    value.fail(fmt::format("at most {} dimensions", kMaxDimensions));
  }
  std::vector<int64_t> shape;
  for (const JsonValue& element : elements) {
    shape.push_back(element.integer_in(0, INT64_MAX));
  }
  return shape;
}

// Bytes of a tensor. Zero dimensions do not excuse a product that wraps.
uint64_t checked_size(const JsonValue& entry, const SafetensorsEntry& tensor) {
  uint64_t size = data_type_size(tensor.type);
  for (const int64_t dimension : tensor.shape) {
    if (__builtin_mul_overflow(size, static_cast<uint64_t>(dimension), &size)) {
      throw InputError(
          entry.at("shape").where(),
          fmt::format("expected a size below 2^64 bytes, found shape {} of {}",
                      format_shape(tensor.shape), data_type_name(tensor.type)));
    }
  }
  return size;
}

SafetensorsEntry read_entry(std::string_view name, const JsonValue& value,
                            uint64_t data_begin, uint64_t data_size) {
  SafetensorsEntry tensor;
  if (name.empty() || name.size() > kMaxNameBytes) {
    throw InputError(value.where(),
                     fmt::format("expected a name of 1 to {} bytes, found {}",
                                 kMaxNameBytes, name.size()));
  }
  tensor.name = name;
  for (const auto& [key, member] : value.members()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      throw InputError(member.where(),
                       "expected only dtype, shape and data_offsets, found "
                       "another key");
    }
  }
  const JsonValue type_name = value.at("dtype");
  const auto type = find_data_type(type_name.string());
  if (!type) type_name.fail("a safetensors type");
  tensor.type = *type;
  tensor.shape = read_shape(value.at("shape"));

  const JsonValue offsets = value.at("data_offsets");
  const std::vector<JsonValue> ends = offsets.elements();
  if (ends.size() != 2) offsets.fail("[begin, end]");
  const uint64_t begin = ends[0].unsigned_integer();
  const uint64_t end = ends[1].unsigned_integer();
  if (begin > end) {
    throw InputError(
        offsets.where(),
        fmt::format("expected begin at most end, found [{}, {}]", begin, end));
  }
  if (end > data_size) {
    throw InputError(ends[1].where(),
                     fmt::format("expected an offset of at most {}, the bytes "
                                 "after the header, found {}",
                                 data_size, end));
  }
  tensor.size = checked_size(value, tensor);
  if (end - begin != tensor.size) {
    throw InputError(
        offsets.where(),
        fmt::format("expected {} bytes for shape {} of {}, found {}",
                    tensor.size, format_shape(tensor.shape),
                    data_type_name(tensor.type), end - begin));
  }
  tensor.offset = data_begin + begin;
  return tensor;
}

// Every byte after the header belongs to exactly one tensor.
void check_coverage(std::vector<SafetensorsEntry>& tensors, uint64_t data_begin,
                    uint64_t file_size, const std::string& source) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.size) < std::pair(b.offset, b.size);
  });
  uint64_t next = data_begin;
  for (const SafetensorsEntry& tensor : tensors) {
    if (tensor.offset != next) {
      throw InputError(
          fmt::format("{}#/{}", source, printable(tensor.name)),
          fmt::format("expected data to begin at offset {}, found {}: {}",
                      next - data_begin, tensor.offset - data_begin,
                      tensor.offset < next ? "an overlap" : "a gap"));
    }
    next += tensor.size;
  }
  if (next != file_size) {
    throw InputError(source, fmt::format("expected {} bytes, the end of the "
                                         "last tensor, found a file of {}",
                                         next, file_size));
  }
}

void check_metadata(const JsonValue& metadata) {
  for (const auto& [key, value] : metadata.members()) value.string();
}

}  // namespace

std::string format_shape(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::vector<SafetensorsEntry> parse_safetensors_header(
    std::string_view header, uint64_t file_size, const std::string& source) {
  if (header.empty() || header.front() != '{') {
    throw InputError(source,
                     fmt::format("expected a header that starts with '{{', "
                                 "found \"{}\"",
                                 printable(header.substr(0, 1))));
  }
  const JsonDocument document =
      JsonDocument::parse(header, source, kHeaderLimits);
  const uint64_t data_begin = kPrefixBytes + header.size();
  if (document.root().size() > kMaxTensors + 1) {
    throw InputError(source,
                     fmt::format("expected at most {} tensors, found {}",
                                 kMaxTensors, document.root().size()));
  }
  std::vector<SafetensorsEntry> tensors;
  tensors.reserve(document.root().size());
  for (const auto& [name, value] : document.root().members()) {
    if (name == "__metadata__") {
      check_metadata(value);
    } else {
      tensors.push_back(
          read_entry(name, value, data_begin, file_size - data_begin));
    }
  }
  check_coverage(tensors, data_begin, file_size, document.source());
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return tensors;
}

std::vector<SafetensorsEntry> parse_safetensors(std::span<const std::byte> file,
                                                const std::string& source) {
  check_prefix(file.size(), source);
  const uint64_t size = checked_header_size(file, file.size(), source);
  const std::string_view header(
      reinterpret_cast<const char*>(file.data()) + kPrefixBytes, size);
  return parse_safetensors_header(header, file.size(), source);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path) {
  const std::string source = file_.name();
  check_prefix(file_.size(), source);
  std::byte prefix[kPrefixBytes];
  file_.read(0, prefix);
  std::string header(checked_header_size(prefix, file_.size(), source), '\0');
  file_.read(kPrefixBytes, std::as_writable_bytes(std::span(header)));
  entries_ = parse_safetensors_header(header, file_.size(), source);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const SafetensorsEntry& entry, std::string_view wanted) {
        return entry.name < wanted;
      });
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

}  // namespace wush
