// HDF5 identifiers with one owner, and failures with the library's own reason.
#pragma once

// The calls of HDF5 1.10, which later versions keep under this name.
#define H5_USE_110_API
#include <hdf5.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace wush::hdf5 {

// A call of the HDF5 library failed; the callers of this folder turn it into an
// InputError or a StorageError, which know the file.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "cannot <action>: <the library's innermost reason>".
[[noreturn]] void fail(const std::string& action);

// Returns the result of a call when it is not negative.
template <typename Result>
Result check(Result result, const char* action) {
  if (result < 0) fail(action);
  return result;
}

// Closes when it goes out of scope. Whoever writes calls close(), which checks.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle(hid_t id, Closer closer, const char* action)
      : id_(check(id, action)), close_(closer) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;

  hid_t get() const { return id_; }
  void close() { check(close_(std::exchange(id_, -1)), "close an object"); }

 private:
  hid_t id_;
  Closer close_;
};

// Stops the library from printing its errors; they arrive as Failure instead.
void silence_errors();

// File access that takes no lock on the file (results lie on network folders,
// too) and loads no filter from outside the library.
Handle reading_access();

}  // namespace wush::hdf5
