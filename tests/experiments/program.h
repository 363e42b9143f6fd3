// Runs the program as a user does.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace wush::testing {

struct Outcome {
  int code = 0;  // exit status; minus the signal that killed it
  std::string out;
  std::string err;
};

using Arguments = std::vector<std::string>;

// `wush arguments...`, to its end.
Outcome run_program(const Arguments& arguments);

// The same without waiting; what it prints is dropped.
pid_t start_program(const Arguments& arguments);

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
