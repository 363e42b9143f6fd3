// Records as bytes: how a record travels from the child process that reads
// HDF5, and how two records are compared bit for bit. Everything is a 64-bit
// number in the machine's order or text with its length in front.
#include <cstring>

#include "lib/results/record.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"

namespace wush {
namespace {

class ByteWriter {
 public:
  template <typename Number>
  void number(Number value) {
    static_assert(sizeof(Number) == 8);
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    out_.append(bytes, sizeof(bytes));
  }
  void size(std::size_t value) { number(std::uint64_t{value}); }
  void value(double item) { number(item); }
  void value(std::int64_t item) { number(item); }
  void value(const std::string& item) {
    size(item.size());
    out_ += item;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class ByteReader {
 public:
  ByteReader(std::string_view bytes, const std::string& where)
      : bytes_(bytes), where_(where) {}

  template <typename Number>
  Number number() {
    Number value;
    const std::string_view raw = take(sizeof(value));
    std::memcpy(&value, raw.data(), sizeof(value));
    return value;
  }
  // A count of items that take at least 8 bytes each.
  std::size_t count() {
    const auto value = number<std::uint64_t>();
    if (value > bytes_.size() / 8) refuse();
    return value;
  }
  void value(double& item) { item = number<double>(); }
  void value(std::int64_t& item) { item = number<std::int64_t>(); }
  void value(std::string& item) { item = take(number<std::uint64_t>()); }
  std::string text() {
    std::string item;
    value(item);
    return item;
  }
  bool at_end() const { return bytes_.empty(); }
  [[noreturn]] void refuse() const {
    throw InputError(where_, "expected a packed record, found other bytes");
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size()) refuse();
    const std::string_view front = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return front;
  }

  std::string_view bytes_;
  const std::string& where_;
};

void pack(const std::map<std::string, DataValue>& attributes,
          ByteWriter& writer) {
  writer.size(attributes.size());
  for (const auto& [name, value] : attributes) {
    writer.value(name);
    writer.size(value.index());
    std::visit([&](const auto& item) { writer.value(item); }, value);
  }
}

void pack(const DataTable& table, ByteWriter& writer) {
  pack(table.attributes, writer);
  writer.size(table.columns.size());
  for (const DataColumn& column : table.columns) {
    writer.value(column.name);
    writer.value(column.unit);
    writer.size(column.values.index());
    writer.size(column_size(column.values));
    std::visit(
        [&](const auto& list) {
          for (const auto& item : list) writer.value(item);
        },
        column.values);
  }
}

// The value or list of the alternative with that index.
template <typename Variant>
Variant make_alternative(std::uint64_t index, const ByteReader& reader) {
  switch (index) {
    case 0:
      return Variant(std::in_place_index<0>);
    case 1:
      return Variant(std::in_place_index<1>);
    case 2:
      return Variant(std::in_place_index<2>);
    default:
      reader.refuse();
  }
}

std::map<std::string, DataValue> unpack_attributes(ByteReader& reader) {
  std::map<std::string, DataValue> attributes;
  for (std::size_t left = reader.count(); left > 0; --left) {
    const std::string name = reader.text();
    auto value =
        make_alternative<DataValue>(reader.number<std::uint64_t>(), reader);
    std::visit([&](auto& item) { reader.value(item); }, value);
    attributes[name] = std::move(value);
  }
  return attributes;
}

DataTable unpack_table(ByteReader& reader) {
  DataTable table;
  table.attributes = unpack_attributes(reader);
  for (std::size_t left = reader.count(); left > 0; --left) {
    DataColumn column;
    column.name = reader.text();
    column.unit = reader.text();
    column.values =
        make_alternative<DataValues>(reader.number<std::uint64_t>(), reader);
    const std::size_t rows = reader.count();
    std::visit(
        [&](auto& list) {
          list.resize(rows);
          for (auto& item : list) reader.value(item);
        },
        column.values);
    table.columns.push_back(std::move(column));
  }
  return table;
}

}  // namespace

std::string pack_record(const Record& record) {
  ByteWriter writer;
  pack(record.attributes, writer);
  writer.size(record.tables.size());
  for (const auto& [name, table] : record.tables) {
    writer.value(name);
    pack(table, writer);
  }
  return writer.take();
}

std::string record_digest(std::string_view name, const Record& record) {
  Sha256 digest;
  digest.update(name);
  digest.update("\n");
  digest.update(pack_record(record));
  return digest.hex();
}

Record unpack_record(std::string_view bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  Record record;
  record.attributes = unpack_attributes(reader);
  for (std::size_t left = reader.count(); left > 0; --left) {
    const std::string name = reader.text();
    record.tables[name] = unpack_table(reader);
  }
  if (!reader.at_end()) reader.refuse();
  return record;
}

void FileDigest::add(std::string_view name, std::string_view digest) {
  lines_ += fmt::format("{} {}\n", name, digest);
}

std::string FileDigest::hex() const { return sha256_hex(lines_); }

}  // namespace wush
