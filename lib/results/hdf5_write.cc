#include <algorithm>
#include <cstring>

#include "lib/results/hdf5_file.h"
#include "lib/results/hdf5_handle.h"
#include "lib/support/error.h"

namespace wush::hdf5 {
namespace {

// A name under which no file can exist: the core driver would open it first.
constexpr const char* kMemoryFile = "/dev/null/results";

// The core driver grows its image by this many bytes.
constexpr std::size_t kImageIncrement = std::size_t{1} << 16;

// Attributes stay in the object header up to this many; a cell has about 20.
constexpr unsigned kCompactAttributes = 64;

Handle property_list(hid_t kind) {
  return Handle(H5Pcreate(kind), H5Pclose, "create a property list");
}

// What every object gets, so that equal content makes equal bytes.
Handle creation_list(hid_t kind) {
  Handle list = property_list(kind);
  check(H5Pset_obj_track_times(list.get(), false), "track no times");
  check(H5Pset_attr_phase_change(list.get(), kCompactAttributes,
                                 kCompactAttributes / 2),
        "keep attributes compact");
  if (kind != H5P_DATASET_CREATE) {
    check(H5Pset_link_creation_order(
              list.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
          "track the order of links");
  }
  return list;
}

Handle create_group(hid_t parent, const std::string& name) {
  const Handle creation = creation_list(H5P_GROUP_CREATE);
  return Handle(H5Gcreate2(parent, name.c_str(), H5P_DEFAULT, creation.get(),
                           H5P_DEFAULT),
                H5Gclose, "create a group");
}

// UTF-8 text of a fixed number of bytes, padded with NUL.
Handle text_type(std::size_t size) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "create a text type");
  check(H5Tset_size(type.get(), std::max<std::size_t>(size, 1)), "set a size");
  check(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "set the padding");
  check(H5Tset_cset(type.get(), H5T_CSET_UTF8), "set UTF-8");
  return type;
}

void write_attribute(hid_t object, const std::string& name, hid_t file_type,
                     hid_t memory_type, const void* data) {
  Handle space(H5Screate(H5S_SCALAR), H5Sclose, "create a scalar");
  Handle attribute(H5Acreate2(object, name.c_str(), file_type, space.get(),
                              H5P_DEFAULT, H5P_DEFAULT),
                   H5Aclose, "create an attribute");
  check(H5Awrite(attribute.get(), memory_type, data), "write an attribute");
  attribute.close();
  space.close();
}

void write_text_attribute(hid_t object, const std::string& name,
                          const std::string& text) {
  Handle type = text_type(text.size());
  write_attribute(object, name, type.get(), type.get(), text.c_str());
  type.close();
}

void write_attributes(hid_t object,
                      const std::map<std::string, DataValue>& attributes) {
  for (const auto& [name, value] : attributes) {
    if (const auto* text = std::get_if<std::string>(&value)) {
      write_text_attribute(object, name, *text);
    } else if (const auto* real = std::get_if<double>(&value)) {
      write_attribute(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, real);
    } else {
      write_attribute(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64,
                      &std::get<std::int64_t>(value));
    }
  }
}

// Gives an object the digest of what it holds and adds that to the file's.
void write_digest(hid_t object, const std::string& name, const Record& record,
                  FileDigest& file) {
  const std::string digest = record_digest(name, record);
  write_text_attribute(object, std::string(kDigestAttribute), digest);
  file.add(name, digest);
}

Handle create_dataset(hid_t group, const std::string& name, hid_t type,
                      hid_t space) {
  const Handle creation = creation_list(H5P_DATASET_CREATE);
  check(H5Pset_layout(creation.get(), H5D_CONTIGUOUS), "set the layout");
  check(H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY),
        "allocate early");
  return Handle(H5Dcreate2(group, name.c_str(), type, space, H5P_DEFAULT,
                           creation.get(), H5P_DEFAULT),
                H5Dclose, "create a dataset");
}

// The strings one after the other, each padded to `size` bytes.
std::string padded(const std::vector<std::string>& texts, std::size_t size) {
  std::string bytes(texts.size() * size, '\0');
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::memcpy(bytes.data() + i * size, texts[i].data(), texts[i].size());
  }
  return bytes;
}

void write_column(hid_t group, const DataColumn& column) {
  const hsize_t rows = column_size(column.values);
  Handle space(H5Screate_simple(1, &rows, nullptr), H5Sclose, "create a space");
  const auto write = [&](hid_t file_type, hid_t memory_type, const void* data) {
    Handle dataset = create_dataset(group, column.name, file_type, space.get());
    if (rows > 0) {
      check(H5Dwrite(dataset.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                     data),
            "write a dataset");
    }
    write_text_attribute(dataset.get(), "unit", column.unit);
    dataset.close();
  };
  if (const auto* reals = std::get_if<std::vector<double>>(&column.values)) {
    write(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, reals->data());
  } else if (const auto* integers =
                 std::get_if<std::vector<std::int64_t>>(&column.values)) {
    write(H5T_STD_I64LE, H5T_NATIVE_INT64, integers->data());
  } else {
    const auto& texts = std::get<std::vector<std::string>>(column.values);
    std::size_t size = 1;
    for (const std::string& text : texts) size = std::max(size, text.size());
    Handle type = text_type(size);
    write(type.get(), type.get(), padded(texts, size).data());
    type.close();
  }
  space.close();
}

void write_table(hid_t parent, const std::string& name,
                 const DataTable& table) {
  Handle group = create_group(parent, name);
  write_attributes(group.get(), table.attributes);
  for (const DataColumn& column : table.columns) {
    write_column(group.get(), column);
  }
  group.close();
}

void write_cell(hid_t runs, const std::string& key, const Record& record,
                FileDigest& digest) {
  Handle cell = create_group(runs, key);
  write_attributes(cell.get(), record.attributes);
  write_digest(cell.get(), key, record, digest);
  for (const auto& [name, table] : record.tables) {
    write_table(cell.get(), name, table);
  }
  cell.close();
}

// A new file in memory with the attributes of its root.
Handle create_file() {
  silence_errors();
  const Handle access = property_list(H5P_FILE_ACCESS);
  check(H5Pset_fapl_core(access.get(), kImageIncrement, false),
        "keep the file in memory");
  check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_EARLIEST, H5F_LIBVER_V18),
        "fix the format version");
  const Handle creation = creation_list(H5P_FILE_CREATE);
  Handle file(
      H5Fcreate(kMemoryFile, H5F_ACC_TRUNC, creation.get(), access.get()),
      H5Fclose, "create a file in memory");
  write_text_attribute(file.get(), "schema", "wush-results");
  write_attribute(file.get(), "schema_version", H5T_STD_I64LE, H5T_NATIVE_INT64,
                  &kResultsSchemaVersion);
  return file;
}

// Ends a file: its own digest, then its bytes.
std::string take_image(Handle file, const FileDigest& digest) {
  write_text_attribute(file.get(), std::string(kDigestAttribute), digest.hex());
  check(H5Fflush(file.get(), H5F_SCOPE_GLOBAL), "flush the file");
  const ssize_t size =
      check(H5Fget_file_image(file.get(), nullptr, 0), "size the file");
  std::string image(static_cast<std::size_t>(size), '\0');
  check(H5Fget_file_image(file.get(), image.data(), image.size()),
        "copy the file");
  file.close();
  return image;
}

void write_config(hid_t file, const std::string& config, FileDigest& digest) {
  Handle type = text_type(config.size());
  Handle space(H5Screate(H5S_SCALAR), H5Sclose, "create a scalar");
  Handle dataset = create_dataset(file, "config", type.get(), space.get());
  check(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                 config.c_str()),
        "write the configuration");
  write_digest(dataset.get(), "config",
               {.attributes = {{"text", config}}, .tables = {}}, digest);
  dataset.close();
  space.close();
  type.close();
}

void write_provenance(hid_t file,
                      const std::map<std::string, std::string>& provenance,
                      FileDigest& digest) {
  Record record;
  for (const auto& [name, text] : provenance) record.attributes[name] = text;
  Handle group = create_group(file, "provenance");
  write_attributes(group.get(), record.attributes);
  write_digest(group.get(), "provenance", record, digest);
  group.close();
}

void copy_cell(const CellFile& cell, hid_t runs, FileDigest& digest) {
  const Content content = read_content_here(cell.path);
  if (content.cells.size() != 1 || content.cells.front().first != cell.key) {
    throw InputError(cell.path.string(),
                     fmt::format("expected the one cell {}, found {} cells",
                                 cell.key, content.cells.size()));
  }
  to_cell(content.cells.front().second,
          fmt::format("{}#/runs/{}", cell.path.string(), cell.key));
  const Handle access = reading_access();
  Handle source(H5Fopen(cell.path.c_str(), H5F_ACC_RDONLY, access.get()),
                H5Fclose, "open the file");
  check(H5Ocopy(source.get(), ("runs/" + cell.key).c_str(), runs,
                cell.key.c_str(), H5P_DEFAULT, H5P_DEFAULT),
        "copy the cell");
  source.close();
  digest.add(cell.key, record_digest(cell.key, content.cells.front().second));
}

}  // namespace

std::string cell_image(const std::string& key, const Record& record) {
  try {
    Handle file = create_file();
    Handle runs = create_group(file.get(), "runs");
    FileDigest digest;
    write_cell(runs.get(), key, record, digest);
    runs.close();
    return take_image(std::move(file), digest);
  } catch (const Failure& failure) {
    throw StorageError(fmt::format("cell {}: {}", key, failure.what()));
  }
}

std::string merged_image(const std::string& config,
                         const std::map<std::string, std::string>& provenance,
                         const std::vector<CellFile>& cells) {
  try {
    Handle file = create_file();
    FileDigest digest;
    write_config(file.get(), config, digest);
    write_provenance(file.get(), provenance, digest);
    Handle runs = create_group(file.get(), "runs");
    for (const CellFile& cell : cells) {
      try {
        copy_cell(cell, runs.get(), digest);
      } catch (const Failure& failure) {
        throw InputError(cell.path.string(), failure.what());
      }
    }
    runs.close();
    return take_image(std::move(file), digest);
  } catch (const Failure& failure) {
    throw StorageError(fmt::format("merged file: {}", failure.what()));
  }
}

}  // namespace wush::hdf5
