#include "lib/results/hdf5_handle.h"

#include <fmt/format.h>

namespace wush::hdf5 {
namespace {

// Keeps the first entry, which H5E_WALK_UPWARD makes the innermost.
herr_t keep_innermost(unsigned depth, const H5E_error2_t* entry, void* text) {
  if (depth == 0 && entry->desc != nullptr) {
    *static_cast<std::string*>(text) = entry->desc;
  }
  return 0;
}

}  // namespace

void fail(const std::string& action) {
  std::string reason = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  H5Eclear2(H5E_DEFAULT);
  throw Failure(fmt::format("cannot {}: {}", action, reason));
}

void silence_errors() {
  check(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "silence HDF5");
}

Handle reading_access() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "create an access list");
  check(H5Pset_file_locking(access.get(), false, true), "turn off locking");
  check(H5PLset_loading_state(0), "turn off dynamic filters");
  return access;
}

}  // namespace wush::hdf5
