// A cell as the file holds it: attributes and named tables, nothing else. The
// schema (which attribute, table and column means what) is written once, in
// record.cc; HDF5 is written and read without knowing it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "lib/results/cell.h"
#include "lib/results/table.h"

namespace wush {

inline constexpr std::int64_t kResultsSchemaVersion = 1;

// The table whose attributes and columns may differ between two runs of the
// same cell: the run's provenance, seconds per stage, peak memory.
inline constexpr std::string_view kProvenanceTable = "provenance";

// The attribute in which a file keeps the digest of a cell, of the
// configuration and of the provenance; never part of a record.
inline constexpr std::string_view kDigestAttribute = "sha256";

struct Record {
  std::map<std::string, DataValue> attributes;
  std::map<std::string, DataTable> tables;
};

// The record of a cell computed by the run that `provenance` describes.
// StorageError when it cannot be stored as it is: text that holds a NUL or is
// not UTF-8, an attribute above 60000 bytes, columns of different lengths, a
// name that the schema keeps for itself.
Record to_record(const CellResult& cell,
                 const std::map<std::string, std::string>& provenance);

// The cell of a record. InputError at `where` ("file#/runs/key") when a table,
// column, attribute, type or shape is not what the schema says.
CellResult to_cell(const Record& record, const std::string& where);

// The text attributes of the provenance table.
std::map<std::string, std::string> record_provenance(const Record& record);

// A record as bytes and back: equal bytes exactly when every bit is equal.
// InputError at `where` when the bytes are not a record.
std::string pack_record(const Record& record);
Record unpack_record(std::string_view bytes, const std::string& where);

// SHA-256 of a record and of the name under which a file keeps it.
std::string record_digest(std::string_view name, const Record& record);

// Digest of a whole file from those of its parts, in the order of the file.
class FileDigest {
 public:
  void add(std::string_view name, std::string_view digest);
  std::string hex() const;

 private:
  std::string lines_;
};

}  // namespace wush
