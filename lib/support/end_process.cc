#include "lib/support/end_process.h"

#include <unistd.h>

#ifdef WUSH_COVERAGE
extern "C" {
#include <gcov.h>
}
#endif

namespace wush {

void end_process(int status) {
#ifdef WUSH_COVERAGE
  __gcov_dump();
#endif
  ::_exit(status);
}

}  // namespace wush
