// Runs the program as a user does.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace wush::testing {

struct Outcome {
  int code = 0;  // exit status; minus the signal that killed it
  std::string out;
  std::string err;
  std::int64_t peak_memory = 0;  // largest resident set in bytes
};

using Arguments = std::vector<std::string>;

// What the program is started with beside its arguments.
struct Surroundings {
  std::map<std::string, std::string> environment;  // added to this process's
  std::uint64_t address_space = 0;  // limit of RLIMIT_AS in bytes; 0: none
};

// `wush arguments...`, to its end.
Outcome run_program(const Arguments& arguments,
                    const Surroundings& surroundings = {});

// The same without waiting. What it prints to standard error goes to the file
// `err`; the rest is dropped.
pid_t start_program(const Arguments& arguments,
                    const std::filesystem::path& err = "/dev/null");

// Writes a sweep over the embedded model that takes a second or two: 64 tokens
// a window, two formats, two transforms, two methods. `changes` are appended as
// overrides by the caller. Returns the file's path.
std::string write_tiny_sweep(const std::filesystem::path& folder);

std::string read_text_file(const std::filesystem::path& path);
void write_text_file(const std::filesystem::path& path,
                     const std::string& text);

// The embedded model copied to `folder`, to be damaged.
void copy_demo_model(const std::filesystem::path& folder);

}  // namespace wush::testing
