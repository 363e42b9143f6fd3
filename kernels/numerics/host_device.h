// Lets the number formats be one definition for the CPU and for CUDA kernels.
//
// On the CPU they are always inlined: files compiled for different instruction
// sets include them, and a shared out-of-line copy could hold instructions that
// the running CPU lacks.
#pragma once

#if defined(__CUDACC__)
#define WUSH_HOST_DEVICE __host__ __device__
#else
#define WUSH_HOST_DEVICE __attribute__((always_inline))
#endif
