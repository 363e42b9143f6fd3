// Results files that have to be refused.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "lib/results/reader.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "tests/child_process.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/temporary_folder.h"

namespace wush::testing {

// A results file with four cells; made once, since each test copies it.
inline const std::string& good_file() {
  static const std::string bytes = [] {
    const TemporaryFolder folder;
    run_sweep(folder.path(), 4);
    return read_input_file(folder / "demo.h5", std::uint64_t{1} << 30);
  }();
  return bytes;
}

inline void write_bytes(const std::filesystem::path& path,
                        std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// The message with which reading ends; checks that it is one line that names
// the file, and that it came within two seconds.
inline std::string refusal(const std::filesystem::path& path) {
  const auto start = std::chrono::steady_clock::now();
  const std::string message =
      message_of<InputError>([&] { read_results(path); });
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 2.0);
  EXPECT_THAT(message,
              ::testing::AllOf(::testing::HasSubstr(path.string()),
                               ::testing::Not(::testing::HasSubstr("\n"))));
  return message;
}

}  // namespace wush::testing
