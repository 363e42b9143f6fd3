#include "lib/support/error.h"

#include <cstdio>
#include <cstdlib>

namespace wush {

void check_failed(const char* file, int line, const char* condition,
                  const std::string& detail) {
  fmt::print(stderr, "{}:{}: invariant violated: {}: {}\n", file, line,
             condition, detail);
  std::abort();
}

}  // namespace wush
