// Data that developers may have beside the checkout, and users do not.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace wush::testing {

// Folder of the shared data; WUSH_SHARED_DIR overrides "../shared".
inline std::filesystem::path shared_dir() {
  if (const char* dir = std::getenv("WUSH_SHARED_DIR")) return dir;
  return std::filesystem::path(WUSH_SOURCE_DIR) / ".." / "shared";
}

}  // namespace wush::testing

// Skips the test, by name, when a file or folder under the shared data is
// absent.
#define WUSH_REQUIRE_SHARED(relative)                                       \
  if (!std::filesystem::exists(::wush::testing::shared_dir() / (relative))) \
  GTEST_SKIP() << "needs shared data: " << (relative)
