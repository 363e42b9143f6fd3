// What OpenBLAS takes beside the memory of its operands.
#pragma once

namespace wush::cpu {

// Makes OpenBLAS compute on the caller's thread alone, and take the buffers for
// `threads` callers now. It maps 128 MiB of address space for each thread that
// calls it at the same time and, where that is refused (ulimit -v), tries again
// for ever instead of failing; so whether they can be had is tried first.
// Throws OutOfMemoryError.
void prepare_blas(int threads);

}  // namespace wush::cpu
