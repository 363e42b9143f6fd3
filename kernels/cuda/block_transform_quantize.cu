#include <algorithm>
#include <type_traits>

#include "kernels/cuda/block_transform.cuh"
#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/quantizer.cuh"

namespace wush::kernels::cuda {
namespace {

template <Family F, RuleMode kMode>
struct QuantizeEpilogue {
  static constexpr int kGroup = group_of(F);
  static constexpr int kLanes = kGroup / 8;
  static constexpr int kBlocks = 2;
  // As many as come: 32 at 16384 x 4096 take 70 us on an H100, 8 take 73.
  static constexpr int kMostTiles = 64;
  static constexpr int kScaleBytes = F == Family::kStep ? 2 : 1;
  struct Shared {
    E4m3Entry table[F == Family::kE4m3 ? kE4m3TableSize : 1];
  };
  QuantizerConstants constants;
  QuantizedOutput out;

  __device__ void prepare(Shared& shared) const {
    if constexpr (F == Family::kE4m3) {
      fill_e4m3_table(constants, shared.table);
      __syncthreads();
    }
  }

  // Where a lane writes. Lanes t and t ^ 1 exchange words, so that each stores
  // eight bytes of codes: even lanes of the first slab, odd lanes of the
  // second. The scales of a row's 64 columns are 2 or 4 bytes; lane 0 stores
  // those of row g, lane 1 those of row g + 8.
  struct Lane {
    std::uint8_t* codes;
    std::uint8_t* scales;
    std::int64_t column;
    bool codes_inside;
    bool whole_scales;  // of 64 columns, and aligned

    __device__ Lane(const QuantizeEpilogue& e, const TransformShape& shape,
                    std::int64_t row, std::int64_t first_column)
        : column(first_column) {
      const int t = lane_t();
      const std::int64_t c = column + ((t & 1) != 0 ? 32 : 0) + 8 * (t & ~1);
      codes = e.out.codes + (row * shape.cols + c) / 2;
      codes_inside = c < shape.cols;
      whole_scales = shape.cols % 64 == 0;
      const std::int64_t scale_row = row + (t == 1 ? 8 : 0);
      scales = static_cast<std::uint8_t*>(e.out.scales) +
               (scale_row * shape.cols + column) / kGroup * kScaleBytes;
    }
    __device__ void advance(const TransformShape& shape, std::int64_t rows) {
      codes += rows * shape.cols / 2;
      scales += rows * shape.cols / kGroup * kScaleBytes;
    }

    // `whole`: all rows and columns are there.
    __device__ void take(const QuantizeEpilogue& e, Shared& shared,
                         const TransformShape& shape, std::int64_t row,
                         bool whole, const float (&sums)[2][4][4]) const {
      const OctetQuantizer<F> quantizer{e.constants, shared.table};
      float v[4][8];
      QuantizedOctet octets[4];  // both slabs of row g, then of row g + 8
#pragma unroll
      for (int i = 0; i < 4; ++i) slab_octet(sums[i % 2], i / 2, v[i]);
      const unsigned invalid = quantizer.template quantize<kMode>(v, octets);
      if (whole && whole_scales) {
        store<true>(e, shape, row, octets);
      } else {
        store<false>(e, shape, row, octets);
      }
      if (invalid != 0 && e.out.first_bad != nullptr) {
        report(e, shape, row, invalid);
      }
    }

    template <bool kWhole>
    __device__ void store(const QuantizeEpilogue& e,
                          const TransformShape& shape, std::int64_t row,
                          const QuantizedOctet (&octets)[4]) const {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const bool inside =
            kWhole || (codes_inside && row + 8 * half < shape.rows);
        store_codes(shape, half, inside, octets[2 * half].codes,
                    octets[2 * half + 1].codes);
      }
      if (kWhole || whole_scales) {
        store_whole_scales(kWhole || row + 8 * (lane_t() & 1) < shape.rows,
                           octets);
      } else {
        store_single_scales(e, shape, row, octets);
      }
    }

    __device__ void store_codes(const TransformShape& shape, int half,
                                bool inside, unsigned first,
                                unsigned second) const {
      const bool odd = (lane_t() & 1) != 0;
      const unsigned other =
          __shfl_xor_sync(kFullWarp, odd ? first : second, 1);
      if (inside) {
        *reinterpret_cast<uint2*>(codes + half * 4 * shape.cols) =
            odd ? make_uint2(other, second) : make_uint2(first, other);
      }
    }

    __device__ void store_whole_scales(
        bool inside, const QuantizedOctet (&octets)[4]) const {
      const int t = lane_t();
      const bool lower = (t & 1) != 0;
      unsigned packed = lower ? octets[2].scale : octets[0].scale;
      const unsigned second = lower ? octets[3].scale : octets[1].scale;
      packed |= second << (F == Family::kPowerOfTwo ? 8 : 16);
      if constexpr (F == Family::kE4m3) {
        // Lanes 2 and 3 hold the second groups of the slabs.
        packed |= __shfl_xor_sync(kFullWarp, packed, 2) << 8;
      }
      if (t >= 2 || !inside) return;
      if constexpr (F == Family::kPowerOfTwo) {
        *reinterpret_cast<std::uint16_t*>(scales) =
            static_cast<std::uint16_t>(packed);
      } else {
        *reinterpret_cast<unsigned*>(scales) = packed;
      }
    }

    __device__ void store_single_scales(
        const QuantizeEpilogue& e, const TransformShape& shape,
        std::int64_t row, const QuantizedOctet (&octets)[4]) const {
      const int t = lane_t();
      if (t % kLanes != 0) return;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int half = i / 2, slab = i % 2;
        const std::int64_t c = column + 32 * slab + 8 * t;
        if (c >= shape.cols || row + 8 * half >= shape.rows) continue;
        const std::int64_t index = ((row + 8 * half) * shape.cols + c) / kGroup;
        if constexpr (F == Family::kStep) {
          static_cast<std::uint16_t*>(e.out.scales)[index] =
              static_cast<std::uint16_t>(octets[i].scale);
        } else {
          static_cast<std::uint8_t*>(e.out.scales)[index] =
              static_cast<std::uint8_t>(octets[i].scale);
        }
      }
    }

    __device__ void report(const QuantizeEpilogue& e,
                           const TransformShape& shape, std::int64_t row,
                           unsigned invalid) const {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int half = i / 2, slab = i % 2;
        const std::int64_t c = column + 32 * slab + 8 * lane_t();
        if ((invalid >> i & 1u) != 0 && c < shape.cols &&
            row + 8 * half < shape.rows) {
          report_bad(e.out.first_bad,
                     ((row + 8 * half) * shape.cols + c) / kGroup * kGroup);
        }
      }
    }
  };
};

// Inputs wider than bfloat16 share one kernel for all rules.
template <Family F>
cudaError_t launch_family(DataType type, RuleMode mode,
                          const TransformCall& call,
                          const QuantizerConstants& constants,
                          const QuantizedOutput& out) {
  const QuantizeEpilogue<F, RuleMode::kAny> any{constants, out};
  switch (type) {
    case DataType::kBfloat16:
      if (mode == RuleMode::kAbsMax) {
        return launch_transform<__nv_bfloat16>(
            call, QuantizeEpilogue<F, RuleMode::kAbsMax>{constants, out});
      }
      if (mode == RuleMode::kMse2) {
        return launch_transform<__nv_bfloat16>(
            call, QuantizeEpilogue<F, RuleMode::kMse2>{constants, out});
      }
      return launch_transform<__nv_bfloat16>(call, any);
    case DataType::kFloat16:
      return launch_transform<__half>(call, any);
    case DataType::kFloat32:
      break;
  }
  return launch_transform<float>(call, any);
}

}  // namespace

Status block_transform_quantize(const BlockTransform& transform, Format format,
                                ScaleRule rule, float unit, DataType type,
                                const void* x, std::int64_t rows,
                                std::int64_t cols, const QuantizedOutput& out,
                                Stream stream) {
  constexpr const char* kName = "block_transform_quantize";
  if (Status s = check_transform(kName, transform, rows, cols); !s.ok()) {
    return s;
  }
  const int group = numerics::describe(format).group;
  if (transform.block % group != 0) {
    return failure(kName, {rows, cols, transform.block},
                   "the transform block must be a multiple of the group of " +
                       std::to_string(group));
  }
  if (!numerics::is_valid_unit(format, unit)) {
    return failure(kName, {rows, cols},
                   "unit " + std::to_string(unit) + " is not valid for " +
                       std::string(numerics::describe(format).name));
  }
  if (!aligned({transform.matrices, x, out.codes})) {
    return failure(kName, {rows, cols}, "pointers must be 16-byte aligned");
  }
  if (rows * cols == 0) return {};
  TransformCall call;
  if (Status s = make_transform_call(transform, x, rows, cols, stream, &call);
      !s.ok()) {
    return s;
  }
  const QuantizerConstants constants = quantizer_constants(format, rule, unit);
  const RuleMode mode = rule_mode(format, rule, unit);
  const cudaError_t error = dispatch_family(format, [&]<Family F>() {
    return launch_family<F>(type, mode, call, constants, out);
  });
  return check(error, kName, {rows, cols, transform.block});
}

}  // namespace wush::kernels::cuda
