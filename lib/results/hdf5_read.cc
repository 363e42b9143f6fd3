#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "lib/results/hdf5_file.h"
#include "lib/results/hdf5_handle.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/isolate.h"
#include "lib/support/unicode.h"

namespace wush::hdf5 {
namespace {

constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxAttributes = 1000;         // of one object
constexpr std::size_t kMaxAttributeBytes = 1 << 16;  // of one attribute
constexpr std::uint64_t kMaxObjects = 1'000'000;     // of one file
constexpr std::uint64_t kMaxTextRows = 1'000'000;    // of one file
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 32;

// An object while it is read: its identifier and its place for messages.
struct Place {
  hid_t id = -1;
  std::string where;  // "file#/runs/..."

  std::string child(std::string_view name) const {
    return fmt::format("{}/{}", where, printable(name));
  }
};

// Reads one file. What has been read counts against what the file can hold, so
// that many links to one object cannot multiply it.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : path_(path.string()), bytes_left_(checked_size(path)) {
    file_bytes_ = bytes_left_;
  }

  Content read();

 private:
  enum class Kind { kGroup, kDataset };

  static std::uint64_t checked_size(const std::filesystem::path& path);
  // Checks schema and version; returns the digest of the whole.
  static std::string check_schema(const Place& root);

  std::vector<std::string> links(const Place& group);
  Handle open(const Place& parent, const std::string& name, Kind kind);
  void read_cells(const Place& runs, Content& content);
  DataTable read_table(const Place& group);
  DataColumn read_column(const Place& group, const std::string& name);
  std::string read_config(const Place& root);
  std::map<std::string, std::string> read_provenance(const Place& group);

  // Compares the content of an object with the digest that it carries.
  void check_digest(std::string_view name, const Record& record,
                    const std::string& stored, const Place& object);
  void check_storage(const Place& dataset);
  void take_bytes(const Place& dataset, std::uint64_t count,
                  std::size_t element_bytes);
  std::vector<std::string> read_texts(const Place& dataset, hid_t type,
                                      std::size_t rows);

  std::string path_;
  std::uint64_t bytes_left_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t objects_left_ = kMaxObjects;
  std::uint64_t text_rows_left_ = kMaxTextRows;
  FileDigest digest_;  // of what has been read
};

template <typename Found>
[[noreturn]] void refuse(const std::string& where, std::string_view expected,
                         const Found& found) {
  throw InputError(where,
                   fmt::format("expected {}, found {}", expected, found));
}

std::string checked_text(std::string text, const std::string& where) {
  text.resize(std::min(text.size(), text.find('\0')));
  if (first_invalid_utf8(text)) {
    refuse(where, "UTF-8 text", fmt::format("\"{}\"", printable(text)));
  }
  return text;
}

// Size of a fixed-length text type; nothing when the type is something else.
std::optional<std::size_t> text_size(hid_t type) {
  if (H5Tget_class(type) != H5T_STRING ||
      check(H5Tis_variable_str(type), "read a type") > 0) {
    return std::nullopt;
  }
  return H5Tget_size(type);
}

bool is_type(hid_t type, hid_t expected) {
  return check(H5Tequal(type, expected), "compare types") > 0;
}

// ---- Attributes.

DataValue read_attribute(const Place& object, const std::string& name) {
  const Handle attribute(H5Aopen(object.id, name.c_str(), H5P_DEFAULT),
                         H5Aclose, "open an attribute");
  const std::string where = object.child(name);
  const Handle space(H5Aget_space(attribute.get()), H5Sclose, "read a shape");
  if (H5Sget_simple_extent_type(space.get()) != H5S_SCALAR) {
    refuse(where, "a scalar attribute", "another shape");
  }
  const Handle type(H5Aget_type(attribute.get()), H5Tclose, "read a type");
  const std::optional<std::size_t> size = text_size(type.get());
  if (size) {
    if (*size > kMaxAttributeBytes) {
      refuse(where, fmt::format("at most {} bytes", kMaxAttributeBytes), *size);
    }
    std::string text(*size, '\0');
    check(H5Aread(attribute.get(), type.get(), text.data()), "read a text");
    return checked_text(std::move(text), where);
  }
  if (is_type(type.get(), H5T_IEEE_F64LE)) {
    double value = 0;
    check(H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value), "read a number");
    return value;
  }
  if (is_type(type.get(), H5T_STD_I64LE)) {
    std::int64_t value = 0;
    check(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "read a number");
    return value;
  }
  refuse(where, "text of fixed length, float64 or int64", "another type");
}

std::map<std::string, DataValue> read_attributes(const Place& object) {
  H5O_info_t info;
  check(H5Oget_info2(object.id, &info, H5O_INFO_NUM_ATTRS), "count attributes");
  if (info.num_attrs > kMaxAttributes) {
    refuse(object.where, fmt::format("at most {} attributes", kMaxAttributes),
           info.num_attrs);
  }
  std::map<std::string, DataValue> attributes;
  for (hsize_t i = 0; i < info.num_attrs; ++i) {
    std::string name(kMaxNameBytes + 2, '\0');
    const ssize_t size =
        check(H5Aget_name_by_idx(object.id, ".", H5_INDEX_NAME, H5_ITER_INC, i,
                                 name.data(), name.size(), H5P_DEFAULT),
              "read an attribute's name");
    if (static_cast<std::size_t>(size) > kMaxNameBytes) {
      refuse(object.where,
             fmt::format("names of at most {} bytes", kMaxNameBytes), size);
    }
    name.resize(static_cast<std::size_t>(size));
    attributes[name] = read_attribute(object, name);
  }
  return attributes;
}

std::string take_text(std::map<std::string, DataValue>& attributes,
                      const std::string& name, const std::string& where) {
  const auto found = attributes.find(name);
  if (found == attributes.end() ||
      !std::holds_alternative<std::string>(found->second)) {
    refuse(where, fmt::format("the text attribute \"{}\"", name), "none");
  }
  std::string text = std::get<std::string>(found->second);
  attributes.erase(found);
  return text;
}

void compare_digests(const std::string& stored, const std::string& computed,
                     const std::string& where) {
  if (stored != computed) {
    refuse(where, fmt::format("content with the SHA-256 {}", printable(stored)),
           computed);
  }
}

// ---- Links.

std::string_view link_kind(H5L_type_t type) {
  switch (type) {
    case H5L_TYPE_SOFT:
      return "a soft link";
    case H5L_TYPE_EXTERNAL:
      return "an external link";
    default:
      return "a user-defined link";
  }
}

std::uint64_t Reader::checked_size(const std::filesystem::path& path) {
  const std::uint64_t size = InputFile(path).size();
  if (size > kMaxFileBytes) {
    refuse(path.string(), fmt::format("at most {} bytes", kMaxFileBytes), size);
  }
  return size;
}

// Names of the links of a group in the order of their creation; all hard.
std::vector<std::string> Reader::links(const Place& group) {
  H5G_info_t info;
  check(H5Gget_info(group.id, &info), "count links");
  if (info.nlinks > objects_left_) {
    refuse(group.where, fmt::format("at most {} objects", kMaxObjects), "more");
  }
  objects_left_ -= info.nlinks;
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t* link,
                        void* list) -> herr_t {
    auto* entries = static_cast<std::vector<std::string>*>(list);
    if (link->type != H5L_TYPE_HARD) {
      // The name of the culprit stays last; no exception crosses the C library.
      entries->emplace_back(name);
      return 1 + static_cast<herr_t>(link->type);
    }
    entries->emplace_back(name);
    return 0;
  };
  const herr_t result = check(H5Literate(group.id, H5_INDEX_CRT_ORDER,
                                         H5_ITER_INC, nullptr, visit, &names),
                              "list links in the order of their creation");
  if (result > 0) {
    refuse(group.child(names.back()), "a hard link",
           link_kind(static_cast<H5L_type_t>(result - 1)));
  }
  for (const std::string& name : names) {
    if (name.size() > kMaxNameBytes || first_invalid_utf8(name)) {
      refuse(group.child(name), "a name of at most 255 bytes of UTF-8",
             fmt::format("{} bytes", name.size()));
    }
  }
  return names;
}

Handle Reader::open(const Place& parent, const std::string& name, Kind kind) {
  H5O_info_t info;
  check(H5Oget_info_by_name2(parent.id, name.c_str(), &info, H5O_INFO_BASIC,
                             H5P_DEFAULT),
        "look at an object");
  const H5O_type_t wanted =
      kind == Kind::kGroup ? H5O_TYPE_GROUP : H5O_TYPE_DATASET;
  if (info.type != wanted) {
    refuse(parent.child(name), kind == Kind::kGroup ? "a group" : "a dataset",
           info.type == H5O_TYPE_GROUP     ? "a group"
           : info.type == H5O_TYPE_DATASET ? "a dataset"
                                           : "a named type");
  }
  return Handle(H5Oopen(parent.id, name.c_str(), H5P_DEFAULT), H5Oclose,
                "open an object");
}

// ---- Datasets.

// Refuses every storage but plain bytes in this file. Called before the shape
// is asked for, since a virtual dataset would open its sources to answer that.
void Reader::check_storage(const Place& dataset) {
  const Handle creation(H5Dget_create_plist(dataset.id), H5Pclose,
                        "read the storage");
  const H5D_layout_t layout = H5Pget_layout(creation.get());
  if (layout == H5D_VIRTUAL) {
    refuse(dataset.where, "data in this file", "a virtual dataset");
  }
  if (check(H5Pget_external_count(creation.get()), "read the storage") > 0) {
    refuse(dataset.where, "data in this file", "external storage");
  }
  if (check(H5Pget_nfilters(creation.get()), "read the filters") > 0) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(
        creation.get(), 0, &flags, &values, nullptr, 0, nullptr, nullptr);
    refuse(dataset.where, "data without filters",
           fmt::format("filter {}", static_cast<int>(filter)));
  }
  if (layout != H5D_CONTIGUOUS && layout != H5D_COMPACT) {
    refuse(dataset.where, "contiguous data", "chunks");
  }
}

// Counts `count` elements that are about to be read against the file's size.
void Reader::take_bytes(const Place& dataset, std::uint64_t count,
                        std::size_t element_bytes) {
  if (element_bytes == 0 || count > bytes_left_ / element_bytes) {
    refuse(dataset.where,
           fmt::format("data within the file's {} bytes", file_bytes_),
           fmt::format("{} elements of {} bytes", count, element_bytes));
  }
  const std::uint64_t bytes = count * element_bytes;
  if (H5Dget_storage_size(dataset.id) != bytes) {
    refuse(dataset.where, fmt::format("{} bytes stored", bytes),
           H5Dget_storage_size(dataset.id));
  }
  bytes_left_ -= bytes;
}

std::vector<std::string> Reader::read_texts(const Place& dataset, hid_t type,
                                            std::size_t rows) {
  if (rows > text_rows_left_) {
    refuse(dataset.where,
           fmt::format("at most {} texts in a file", kMaxTextRows), "more");
  }
  text_rows_left_ -= rows;
  const std::size_t size = H5Tget_size(type);
  std::string bytes(rows * size, '\0');
  if (rows > 0) {
    check(
        H5Dread(dataset.id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()),
        "read a dataset");
  }
  std::vector<std::string> texts;
  texts.reserve(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    texts.push_back(checked_text(bytes.substr(i * size, size), dataset.where));
  }
  return texts;
}

DataColumn Reader::read_column(const Place& group, const std::string& name) {
  const Handle handle = open(group, name, Kind::kDataset);
  const Place dataset{handle.get(), group.child(name)};
  check_storage(dataset);
  const Handle space(H5Dget_space(dataset.id), H5Sclose, "read a shape");
  if (H5Sget_simple_extent_ndims(space.get()) != 1) {
    refuse(dataset.where, "one dimension",
           H5Sget_simple_extent_ndims(space.get()));
  }
  hsize_t rows = 0;
  check(H5Sget_simple_extent_dims(space.get(), &rows, nullptr), "read a shape");
  const Handle type(H5Dget_type(dataset.id), H5Tclose, "read a type");

  DataColumn column;
  column.name = name;
  const auto read_numbers = [&](auto list, hid_t memory_type) {
    take_bytes(dataset, rows, 8);
    list.resize(rows);
    if (rows > 0) {
      check(H5Dread(dataset.id, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                    list.data()),
            "read a dataset");
    }
    return list;
  };
  if (const std::optional<std::size_t> size = text_size(type.get())) {
    take_bytes(dataset, rows, *size);
    column.values = read_texts(dataset, type.get(), rows);
  } else if (is_type(type.get(), H5T_IEEE_F64LE)) {
    column.values = read_numbers(std::vector<double>(), H5T_NATIVE_DOUBLE);
  } else if (is_type(type.get(), H5T_STD_I64LE)) {
    column.values = read_numbers(std::vector<std::int64_t>(), H5T_NATIVE_INT64);
  } else {
    refuse(dataset.where, "text of fixed length, float64 or int64",
           "another type");
  }
  auto attributes = read_attributes(dataset);
  column.unit = take_text(attributes, "unit", dataset.where);
  if (!attributes.empty()) {
    refuse(dataset.where, "no attribute but \"unit\"",
           fmt::format("\"{}\"", printable(attributes.begin()->first)));
  }
  return column;
}

std::string Reader::read_config(const Place& root) {
  const Handle handle = open(root, "config", Kind::kDataset);
  const Place dataset{handle.get(), root.child("config")};
  check_storage(dataset);
  const Handle space(H5Dget_space(dataset.id), H5Sclose, "read a shape");
  const Handle type(H5Dget_type(dataset.id), H5Tclose, "read a type");
  const std::optional<std::size_t> size = text_size(type.get());
  if (H5Sget_simple_extent_type(space.get()) != H5S_SCALAR || !size) {
    refuse(dataset.where, "one text of fixed length", "another type or shape");
  }
  take_bytes(dataset, 1, *size);
  std::string text = read_texts(dataset, type.get(), 1).front();
  auto attributes = read_attributes(dataset);
  const std::string digest =
      take_text(attributes, std::string(kDigestAttribute), dataset.where);
  check_digest("config", {.attributes = {{"text", text}}, .tables = {}}, digest,
               dataset);
  return text;
}

// ---- Groups.

void Reader::check_digest(std::string_view name, const Record& record,
                          const std::string& stored, const Place& object) {
  const std::string digest = record_digest(name, record);
  compare_digests(stored, digest, object.where);
  digest_.add(name, digest);
}

std::map<std::string, std::string> Reader::read_provenance(const Place& group) {
  Record record;
  record.attributes = read_attributes(group);
  const std::string digest =
      take_text(record.attributes, std::string(kDigestAttribute), group.where);
  check_digest("provenance", record, digest, group);
  std::map<std::string, std::string> texts;
  while (!record.attributes.empty()) {
    const std::string name = record.attributes.begin()->first;
    texts[name] = take_text(record.attributes, name, group.where);
  }
  return texts;
}

DataTable Reader::read_table(const Place& group) {
  DataTable table;
  table.attributes = read_attributes(group);
  for (const std::string& name : links(group)) {
    table.columns.push_back(read_column(group, name));
  }
  return table;
}

void Reader::read_cells(const Place& runs, Content& content) {
  for (const std::string& key : links(runs)) {
    const Handle handle = open(runs, key, Kind::kGroup);
    const Place cell{handle.get(), runs.child(key)};
    Record record;
    record.attributes = read_attributes(cell);
    const std::string digest =
        take_text(record.attributes, std::string(kDigestAttribute), cell.where);
    for (const std::string& name : links(cell)) {
      const Handle group = open(cell, name, Kind::kGroup);
      record.tables[name] = read_table({group.get(), cell.child(name)});
    }
    check_digest(key, record, digest, cell);
    content.cells.emplace_back(key, std::move(record));
  }
}

std::string Reader::check_schema(const Place& root) {
  auto attributes = read_attributes(root);
  const std::string schema = take_text(attributes, "schema", root.where);
  if (schema != "wush-results") {
    refuse(root.where, "the schema \"wush-results\"",
           fmt::format("\"{}\"", printable(schema)));
  }
  const auto found = attributes.find("schema_version");
  const std::int64_t* version = found == attributes.end()
                                    ? nullptr
                                    : std::get_if<std::int64_t>(&found->second);
  if (version == nullptr || *version != kResultsSchemaVersion) {
    refuse(root.where, fmt::format("schema version {}", kResultsSchemaVersion),
           version == nullptr ? "none" : std::to_string(*version));
  }
  std::string digest =
      take_text(attributes, std::string(kDigestAttribute), root.where);
  if (attributes.size() != 1) {
    refuse(root.where, "no further attributes", attributes.size() - 1);
  }
  return digest;
}

Content Reader::read() {
  silence_errors();
  const Handle access = reading_access();
  const Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, access.get()),
                    H5Fclose, "open the file as HDF5");
  const Handle handle(H5Gopen2(file.get(), "/", H5P_DEFAULT), H5Gclose,
                      "open the root group");
  const Place root{handle.get(), path_ + "#"};
  const std::string digest = check_schema(root);
  Content content;
  bool has_runs = false;
  for (const std::string& name : links(root)) {
    if (name == "config") {
      content.config = read_config(root);
    } else if (name == "provenance") {
      const Handle group = open(root, name, Kind::kGroup);
      content.provenance = read_provenance({group.get(), root.child(name)});
    } else if (name == "runs") {
      const Handle group = open(root, name, Kind::kGroup);
      read_cells({group.get(), root.child(name)}, content);
      has_runs = true;
    } else {
      refuse(root.child(name), "only /config, /provenance and /runs",
             "another object");
    }
  }
  if (!has_runs) refuse(root.where, "the group /runs", "none");
  compare_digests(digest, digest_.hex(), root.where);
  return content;
}

}  // namespace

Content read_content_here(const std::filesystem::path& path) {
  try {
    return Reader(path).read();
  } catch (const Failure& failure) {
    throw InputError(path.string(), failure.what());
  }
}

}  // namespace wush::hdf5
