// Errors that a user can cause or meet, each with the exit code of the program.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace wush {

// Exit codes of the program (128 + n is added for a signal by the command
// line).
enum class ExitCode : int {
  kDone = 0,
  kCellsFailed = 1,  // the sweep ran; at least one cell holds an error
  kInput = 2,        // the user's input is wrong
  kStorage = 3,      // a result could not be stored
  kLocked = 4,       // another run holds these results
  kOutOfMemory = 5,  // the memory or its budget does not suffice
  kDevice = 6,       // the requested device is not there
};

// Base of every error that reaches the user as one line.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, std::string message)
      : std::runtime_error(std::move(message)), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// The user's input is wrong: `where` is "file", "file:line:column" or
// "file#/json/pointer"; the message says what was expected and what was found.
class InputError : public Error {
 public:
  InputError(const std::string& where, const std::string& message)
      : Error(ExitCode::kInput, where + ": " + message) {}
};

class StorageError : public Error {
 public:
  explicit StorageError(const std::string& message)
      : Error(ExitCode::kStorage, message) {}
};

class LockedError : public Error {
 public:
  explicit LockedError(const std::string& message)
      : Error(ExitCode::kLocked, message) {}
};

class OutOfMemoryError : public Error {
 public:
  explicit OutOfMemoryError(const std::string& message)
      : Error(ExitCode::kOutOfMemory, message) {}
};

class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message)
      : Error(ExitCode::kDevice, message) {}
};

// A cell's numbers cannot be computed (a factorization that fails at every
// damping, a value that overflows): recorded in the cell, the sweep goes on.
class NumericalError : public Error {
 public:
  explicit NumericalError(const std::string& message)
      : Error(ExitCode::kCellsFailed, message) {}
};

[[noreturn]] void check_failed(const char* file, int line,
                               const char* condition,
                               const std::string& detail);

}  // namespace wush

// An invariant of the program, checked in every build; the detail is a fmt
// format string with its arguments.
#define WUSH_CHECK(condition, ...)                         \
  do {                                                     \
    if (!(condition)) [[unlikely]]                         \
      ::wush::check_failed(__FILE__, __LINE__, #condition, \
                           ::fmt::format(__VA_ARGS__));    \
  } while (false)
