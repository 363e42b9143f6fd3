// How many clusters a device has room for.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace wush::kernels::cuda {

inline constexpr int kMostBlocks = 16;  // of a cluster
inline constexpr int kPortableBlocks = 8;

// Clusters of every size that the device runs at once: fewer than its
// multiprocessors hold of single blocks, since a cluster lies within a part of
// the device.
struct Resident {
  int clusters[kMostBlocks + 1];
};

// Bytes of shared memory that a block may have on the current device.
inline cudaError_t most_shared_memory(int* bytes) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  return error != cudaSuccess
             ? error
             : cudaDeviceGetAttribute(
                   bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

// For blocks of `threads` and `bytes` of dynamic shared memory.
template <class Kernel>
Resident query_resident(Kernel* kernel, int threads, int bytes) {
  Resident resident = {};
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           bytes) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return resident;
  }
  int most = kMostBlocks;
  if (cudaFuncSetAttribute(kernel,
                           cudaFuncAttributeNonPortableClusterSizeAllowed,
                           1) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    most = kPortableBlocks;
  }
  for (int blocks = 1; blocks <= most; ++blocks) {
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(blocks);
    attribute.val.clusterDim.y = 1;
    attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<std::size_t>(bytes);
    config.attrs = &attribute;
    config.numAttrs = 1;
    if (cudaOccupancyMaxActiveClusters(&resident.clusters[blocks], kernel,
                                       &config) != cudaSuccess) {
      resident.clusters[blocks] = 0;
      static_cast<void>(cudaGetLastError());
    }
  }
  return resident;
}

}  // namespace wush::kernels::cuda
