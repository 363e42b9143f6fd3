// Ending a forked child at once.
#pragma once

namespace wush {

// _exit(2): no destructors and no buffers that the parent would flush again. In
// builds that measure coverage the lines that this process executed are written
// out first, which _exit leaves to atexit handlers.
[[noreturn]] void end_process(int status);

}  // namespace wush
