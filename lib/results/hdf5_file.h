// Results files as HDF5: the layout of results/README.md, without its meaning.
//
//   /            attributes schema = "wush-results", schema_version, sha256
//   /config      the resolved configuration, one text (merged files only)
//   /provenance  attributes of the run that merged (merged files only)
//   /runs/<key>  a cell: attributes, and a group per table with a dataset per
//                column
//
// Every cell, the configuration and the provenance carry their SHA-256, and the
// root one of all these, so that a flipped bit is never read as a number.
//
// Files are built in memory and written by the caller, so that every byte goes
// through lib/support/io.h. The same content gives the same bytes: no times are
// tracked, the format version is fixed, and links are kept in creation order.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/results/record.h"

namespace wush::hdf5 {

// The bytes of a file that holds one cell. Throws StorageError.
std::string cell_image(const std::string& key, const Record& record);

// A cell file to be merged, and the key under which it goes.
struct CellFile {
  std::string key;
  std::filesystem::path path;
};

// The bytes of a merged file: cells copied with H5Ocopy in the given order.
// InputError that names the cell file when one cannot be read or does not hold
// exactly its key. Meant for a child process (lib/support/isolate.h).
std::string merged_image(const std::string& config,
                         const std::map<std::string, std::string>& provenance,
                         const std::vector<CellFile>& cells);

// What a file holds.
struct Content {
  std::string config;                                 // empty in a cell file
  std::map<std::string, std::string> provenance;      // empty in a cell file
  std::vector<std::pair<std::string, Record>> cells;  // in creation order
};

// Reads a file and refuses, as InputError, whatever the layout does not allow:
// links other than hard ones, external storage, virtual datasets, chunks and
// filters, types and shapes other than the layout's, more data than the file
// can hold. Runs HDF5 in this process: for files of strangers use read_content.
Content read_content_here(const std::filesystem::path& path);

// The same for several files, in a child process with limits on memory and time
// that follow from the files' sizes.
std::vector<Content> read_content(
    const std::vector<std::filesystem::path>& paths);

}  // namespace wush::hdf5
