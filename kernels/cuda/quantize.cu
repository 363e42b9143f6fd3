#include <algorithm>
#include <cmath>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/octet.cuh"
#include "kernels/cuda/quantize.h"
#include "kernels/cuda/quantizer.cuh"

namespace wush::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Octets that a lane has in flight: enough bytes to cover the memory's latency.
constexpr int kUnroll = 4;
constexpr int kWarpOctets = 32 * kUnroll;
// Octets that it quantizes at a time: as many as 64 registers hold.
template <RuleMode kMode, bool kHadamard>
inline constexpr int kTogether = kMode == RuleMode::kAbsMax ||
                                         (kMode == RuleMode::kMse2 &&
                                          !kHadamard)
                                     ? 2
                                     : 1;
// Whether values pass through shared memory, so that those of the next octets
// are under way meanwhile: 4 to 8 % faster for 8192 x 8192, up to 17 % for 1024
// x 4096; int4 with absmax took 3 % longer.
template <Family F, RuleMode kMode>
inline constexpr bool kThroughShared = kMode == RuleMode::kMse2 ||
                                       (kMode == RuleMode::kAbsMax &&
                                        F != Family::kStep);
// Thread blocks of a large launch, for each multiprocessor: nvfp4 with mse2
// takes 2 % less with 16 than with 32 (8192 x 8192), the others from 1 % less
// to 2 % more.
template <Family F, RuleMode kMode>
inline constexpr int kLaunched = (kMode == RuleMode::kMse2 &&
                                  F == Family::kE4m3)
                                     ? 16
                                     : 32;
// Thread blocks that a multiprocessor should hold: 64 registers a thread.
template <RuleMode kMode, class In>
inline constexpr int kBlocks = kMode != RuleMode::kAny && sizeof(In) == 2 ? 4
                                                                          : 1;

struct HadamardBlock {
  int size;     // 0: none
  float scale;  // 1 / sqrt(size)
};

// The butterfly over columns 1, 2, 4 apart in the lane's registers, and 8 .. 64
// apart between lanes.
__device__ void butterfly(float (&v)[8], HadamardBlock block) {
#pragma unroll
  for (int apart = 1; apart < 8; apart *= 2) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if ((i & apart) == 0) {
        const float a = v[i], b = v[i + apart];
        v[i] = a + b;
        v[i + apart] = a - b;
      }
    }
  }
  for (int lanes = 1; lanes * 8 < block.size; lanes *= 2) {
    const float sign = (threadIdx.x & lanes) != 0 ? -1.0f : 1.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      v[i] = sign * v[i] + exchange(v[i], lanes);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] *= block.scale;
}

template <Family F>
__device__ void store_scale(void* scales, std::int64_t index, unsigned scale) {
  if constexpr (F == Family::kStep) {
    static_cast<std::uint16_t*>(scales)[index] =
        static_cast<std::uint16_t>(scale);
  } else {
    static_cast<std::uint8_t*>(scales)[index] =
        static_cast<std::uint8_t>(scale);
  }
}

// Reports the first value of the octet that is not finite, or the group's first
// column if the whole group is. All lanes of a group call this together.
template <int kLanes, class In>
__device__ void report_octet(const Octet<In>& octet, std::int64_t index,
                             std::uint64_t* first_bad) {
  float v[8];
  octet.widen(v);
  std::int64_t bad = -1;
#pragma unroll
  for (int i = 7; i >= 0; --i) {
    if (!(fabsf(v[i]) <= 3.402823466e38f)) bad = index * 8 + i;
  }
  const unsigned first_lane = threadIdx.x & 31u & ~(kLanes - 1u);
  const unsigned lanes = ((1u << kLanes) - 1u) << first_lane;
  if (!__any_sync(lanes, bad >= 0)) bad = index / kLanes * kLanes * 8;
  if (bad >= 0) report_bad(first_bad, bad);
}

// What a kernel quantizes, and a warp's part in it: 32 * kUnroll consecutive
// octets of the dense tensor at a time, so that loads, codes and scales are all
// contiguous. The lane's own are 32 apart.
template <Family F, class In>
struct QuantizeWork {
  const In* x;
  std::int64_t octets;
  const QuantizedOutput& out;
  OctetQuantizer<F> quantizer;

  __device__ static std::int64_t first() {
    return ((blockIdx.x * std::int64_t{kThreads} + threadIdx.x) >> 5) *
           kWarpOctets;
  }
  __device__ static std::int64_t step() {
    return (gridDim.x * std::int64_t{kThreads} >> 5) * kWarpOctets;
  }

  // Quantizes and stores the octets `mine` + 32 (u + i), `whole` if there are
  // all that a warp takes.
  template <RuleMode kMode, int kOctets>
  __device__ void quantize(const float (&v)[kOctets][8], std::int64_t mine,
                           int first_u, bool whole) const {
    constexpr int kLanes = group_of(F) / 8;
    auto* codes = reinterpret_cast<unsigned*>(out.codes) + mine;
    QuantizedOctet quantized[kOctets];
    const unsigned invalid = quantizer.template quantize<kMode>(v, quantized);
#pragma unroll
    for (int i = 0; i < kOctets; ++i) {
      const int u = first_u + i;
      if (!whole && mine + u * 32 >= octets) continue;
      codes[u * 32] = quantized[i].codes;
      if (threadIdx.x % kLanes == 0) {
        store_scale<F>(out.scales, mine / kLanes + u * (32 / kLanes),
                       quantized[i].scale);
      }
      if ((invalid >> i & 1u) != 0 && out.first_bad != nullptr) {
        report_octet<kLanes>(load_octet(x + (mine + u * 32) * 8), mine + u * 32,
                             out.first_bad);
      }
    }
  }
};

// Values by registers.
template <RuleMode kMode, int kOctets, bool kHadamard, Family F, class In>
__device__ void quantize_loaded(const QuantizeWork<F, In>& work,
                                HadamardBlock block) {
  for (std::int64_t first = work.first(); first < work.octets;
       first += work.step()) {
    const bool whole = first + kWarpOctets <= work.octets;
    const std::int64_t mine = first + (threadIdx.x & 31);
    Octet<In> loaded[kUnroll];
    if (whole) {
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        loaded[u] = load_octet(work.x + mine * 8 + u * 256);
      }
    } else {
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        loaded[u] = mine + u * 32 < work.octets
                        ? load_octet(work.x + mine * 8 + u * 256)
                        : Octet<In>{};
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; u += kOctets) {
      float v[kOctets][8];
#pragma unroll
      for (int i = 0; i < kOctets; ++i) {
        loaded[u + i].widen(v[i]);
        if constexpr (kHadamard) butterfly(v[i], block);
      }
      work.template quantize<kMode>(v, mine, u, whole);
    }
  }
}

// Values by shared memory, each lane's in slots of its own, which the next ones
// are copied to as soon as they are read.
template <class In>
using Slots = uint4[kUnroll][sizeof(Octet<In>) / 16][kThreads];

template <RuleMode kMode, int kOctets, bool kHadamard, Family F, class In>
__device__ void quantize_copied(const QuantizeWork<F, In>& work,
                                HadamardBlock block, Slots<In>& slots) {
  constexpr int kPieces = sizeof(Octet<In>) / 16;
  const int lane = threadIdx.x & 31;
  const auto copy = [&](int u, std::int64_t octet) {
    const In* from = work.x + octet * 8;
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      copy_async_16(&slots[u][j][threadIdx.x], from + 16 / sizeof(In) * j,
                    true);
    }
  };
  // Octets u to u + kOctets - 1 of the warp's from `first` on, a group of
  // copies. Beyond the last, slots keep what they hold: it is quantized like
  // the rest, but not stored.
  const auto start = [&](int u, std::int64_t first) {
    if (first + kWarpOctets <= work.octets) {
#pragma unroll
      for (int i = u; i < u + kOctets; ++i) copy(i, first + lane + i * 32);
    } else if (first < work.octets) {
#pragma unroll
      for (int i = u; i < u + kOctets; ++i) {
        const std::int64_t octet = first + lane + i * 32;
        if (octet < work.octets) copy(i, octet);
      }
    }
    commit_copies();
  };
  std::int64_t first = work.first();
#pragma unroll
  for (int u = 0; u < kUnroll; u += kOctets) start(u, first);
  for (; first < work.octets; first += work.step()) {
    const bool whole = first + kWarpOctets <= work.octets;
#pragma unroll
    for (int u = 0; u < kUnroll; u += kOctets) {
      float v[kOctets][8];
      wait_copies<kUnroll / kOctets - 1>();
#pragma unroll
      for (int i = 0; i < kOctets; ++i) {
        Octet<In> octet;
        octet.bits = slots[u + i][0][threadIdx.x];
        if constexpr (kPieces == 2) octet.more = slots[u + i][1][threadIdx.x];
        octet.widen(v[i]);
      }
      start(u, first + work.step());
#pragma unroll
      for (int i = 0; i < kOctets; ++i) {
        if constexpr (kHadamard) butterfly(v[i], block);
      }
      work.template quantize<kMode>(v, first + lane, u, whole);
    }
  }
}

template <Family F, class In, RuleMode kMode, bool kHadamard>
__global__ __launch_bounds__(kThreads, kBlocks<kMode, In>) void quantize_kernel(
    const In* __restrict__ x, std::int64_t octets, QuantizerConstants constants,
    HadamardBlock block, QuantizedOutput out) {
  constexpr int kOctets = kTogether<kMode, kHadamard>;
  __shared__ E4m3Entry table[F == Family::kE4m3 ? kE4m3TableSize : 1];
  allow_next_launch();
  if constexpr (F == Family::kE4m3) {
    fill_e4m3_table(constants, table);
    __syncthreads();
  }
  wait_for_previous_launch();
  const QuantizeWork<F, In> work{x, octets, out, {constants, table}};
  if constexpr (kThroughShared<F, kMode>) {
    __shared__ Slots<In> slots;
    quantize_copied<kMode, kOctets, kHadamard>(work, block, slots);
  } else {
    quantize_loaded<kMode, kOctets, kHadamard>(work, block);
  }
}

struct QuantizeCall {
  QuantizerConstants constants;
  RuleMode mode;
  HadamardBlock block;
  const void* x;
  std::int64_t octets;
  QuantizedOutput out;
  int multiprocessors;
  cudaStream_t stream;
};

template <Family F, class In, RuleMode kMode, bool kHadamard>
cudaError_t launch(const QuantizeCall& call) {
  const std::int64_t wanted =
      ceil_div(call.octets, kThreads / 32 * kWarpOctets);
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(
      wanted, call.multiprocessors * kLaunched<F, kMode>));
  return launch_overlapping(quantize_kernel<F, In, kMode, kHadamard>,
                            {dim3(blocks), kThreads, 0, call.stream},
                            static_cast<const In*>(call.x), call.octets,
                            call.constants, call.block, call.out);
}

template <Family F, class In, RuleMode kMode>
cudaError_t launch_mode(const QuantizeCall& call) {
  return call.block.size != 0 ? launch<F, In, kMode, true>(call)
                              : launch<F, In, kMode, false>(call);
}

template <Family F, class In>
cudaError_t launch_variant(const QuantizeCall& call) {
  switch (call.mode) {
    case RuleMode::kAbsMax:
      return launch_mode<F, In, RuleMode::kAbsMax>(call);
    case RuleMode::kMse2:
      return launch_mode<F, In, RuleMode::kMse2>(call);
    case RuleMode::kAny:
      break;
  }
  return launch_mode<F, In, RuleMode::kAny>(call);
}

template <Family F>
cudaError_t launch_type(DataType type, const QuantizeCall& call) {
  switch (type) {
    case DataType::kBfloat16:
      return launch_variant<F, __nv_bfloat16>(call);
    case DataType::kFloat16:
      return launch_variant<F, __half>(call);
    case DataType::kFloat32:
      break;
  }
  return launch_variant<F, float>(call);
}

template <Family F, class Out>
__global__ __launch_bounds__(kThreads) void dequantize_kernel(
    const unsigned* __restrict__ codes, const void* __restrict__ scales,
    float unit, std::int64_t octets, Out* __restrict__ out) {
  constexpr int kLanes = group_of(F) / 8;
  allow_next_launch();
  wait_for_previous_launch();
  for (std::int64_t octet = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
       octet < octets; octet += gridDim.x * std::int64_t{kThreads}) {
    const std::int64_t group = octet / kLanes;
    float multiplier;
    if constexpr (F == Family::kStep) {
      const unsigned bits = static_cast<const std::uint16_t*>(scales)[group];
      multiplier = __uint_as_float(bits << 16) * unit;
    } else {
      const std::uint8_t byte = static_cast<const std::uint8_t*>(scales)[group];
      if constexpr (F == Family::kE4m3) {
        multiplier = numerics::e4m3_decode<float>(byte) * unit;
      } else {
        multiplier =
            __uint_as_float(byte == 0 ? 0x00400000u : byte << 23) * unit;
      }
    }
    const unsigned word = codes[octet];
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const unsigned code = word >> (4 * i) & 15u;
      if constexpr (F == Family::kStep) {
        v[i] = (static_cast<float>(static_cast<int>(code ^ 8u)) - 7.5f) *
               multiplier;
      } else {
        // The magnitude's bits are those of a float with one significand bit.
        const float magnitude = __uint_as_float((code & 7u) << 22) * 0x1p126f;
        v[i] = __uint_as_float(__float_as_uint(magnitude) | code >> 3 << 31) *
               multiplier;
      }
    }
    store_octet(out + octet * 8, v);
  }
}

template <class Out>
cudaError_t launch_dequantize(Format format, const QuantizedMatrix& x,
                              std::int64_t octets, float unit, void* out,
                              cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(
      std::min<std::int64_t>(ceil_div(octets, kThreads), 1 << 16));
  return dispatch_family(format, [&]<Family F>() {
    return launch_overlapping(dequantize_kernel<F, Out>,
                              {dim3(blocks), kThreads, 0, stream},
                              reinterpret_cast<const unsigned*>(x.codes),
                              x.scales, unit, octets, static_cast<Out*>(out));
  });
}

Status check_format(const char* kernel, Format format, float unit,
                    std::int64_t rows, std::int64_t cols) {
  const int group = numerics::describe(format).group;
  if (rows < 0 || cols < 0) {
    return failure(kernel, {rows, cols}, "a size is negative");
  }
  if (cols % group != 0) {
    return failure(
        kernel, {rows, cols},
        "columns must be a multiple of the group of " + std::to_string(group));
  }
  if (!numerics::is_valid_unit(format, unit)) {
    return failure(kernel, {rows, cols},
                   "unit " + std::to_string(unit) + " is not valid for " +
                       std::string(numerics::describe(format).name));
  }
  return {};
}

}  // namespace

Status quantize(Format format, ScaleRule rule, float unit, DataType type,
                const void* x, std::int64_t rows, std::int64_t cols,
                int hadamard, const QuantizedOutput& out, Stream stream) {
  constexpr const char* kName = "quantize";
  if (Status s = check_format(kName, format, unit, rows, cols); !s.ok()) {
    return s;
  }
  if (hadamard != 0 && hadamard != 16 && hadamard != 32 && hadamard != 64 &&
      hadamard != 128) {
    return failure(kName, {rows, cols, hadamard},
                   "the hadamard block must be 0, 16, 32, 64 or 128");
  }
  if (hadamard != 0 && cols % hadamard != 0) {
    return failure(kName, {rows, cols, hadamard},
                   "columns must be a multiple of the hadamard block");
  }
  if (!aligned({x, out.codes})) {
    return failure(kName, {rows, cols}, "pointers must be 16-byte aligned");
  }
  if (rows * cols == 0) return {};
  DeviceInfo info;
  if (Status s = device_info(&info); !s.ok()) return s;
  const float scale =
      hadamard == 0
          ? 1.0f
          : static_cast<float>(1 / std::sqrt(static_cast<double>(hadamard)));
  const QuantizeCall call{quantizer_constants(format, rule, unit),
                          rule_mode(format, rule, unit),
                          {hadamard, scale},
                          x,
                          rows * cols / 8,
                          out,
                          info.multiprocessors,
                          stream};
  const cudaError_t error = dispatch_family(
      format, [&]<Family F>() { return launch_type<F>(type, call); });
  return check(error, kName, {rows, cols});
}

Status dequantize(Format format, const QuantizedMatrix& x, std::int64_t cols,
                  DataType type, void* out, Stream stream) {
  constexpr const char* kName = "dequantize";
  if (Status s = check_format(kName, format, x.unit, x.rows, cols); !s.ok()) {
    return s;
  }
  if (!aligned({x.codes, out})) {
    return failure(kName, {x.rows, cols}, "pointers must be 16-byte aligned");
  }
  if (x.rows * cols == 0) return {};
  const float unit =
      quantizer_constants(format, ScaleRule::kAbsMax, x.unit).unit;
  const std::int64_t octets = x.rows * cols / 8;
  const auto launched = [&]<class Out>(Out) {
    return launch_dequantize<Out>(format, x, octets, unit, out, stream);
  };
  const cudaError_t error = type == DataType::kBfloat16
                                ? launched(__nv_bfloat16{})
                            : type == DataType::kFloat16 ? launched(__half{})
                                                         : launched(float{});
  return check(error, kName, {x.rows, cols});
}

}  // namespace wush::kernels::cuda
