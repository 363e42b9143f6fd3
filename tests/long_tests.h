// Tests that take minutes: WUSH_LONG_TESTS=1 runs them, else they are skipped
// by name.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

namespace wush::testing {

inline bool long_tests() {
  const char* value = std::getenv("WUSH_LONG_TESTS");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace wush::testing

#define WUSH_REQUIRE_LONG_TESTS()     \
  if (!::wush::testing::long_tests()) \
  GTEST_SKIP() << "takes minutes: set WUSH_LONG_TESTS=1"
