// Compiled once for each instruction set; see kernels/cpu/quantize_feedback.h.
//
// A tile of kTileRows rows is transposed, so that lanes are rows and a column
// is a few registers. What column c receives from the columns before it,
//   x_c += sum_j e_j * lower[c, j]  in ascending j,
// is the order in which the recursion adds, and is computed when the column's
// block is reached: kBlock columns of a tile stay in registers meanwhile.
#include "kernels/cpu/simd/group_vectors.h"
#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels::WUSH_ISA {
namespace {

using V = Vector<double>;

#if defined(WUSH_ISA_AVX512)
constexpr int kVectorsPerColumn = 4;  // 4 x 4 accumulators of 32 registers
#else
constexpr int kVectorsPerColumn = 2;  // 2 x 4 accumulators of 16 registers
#endif
constexpr int kBlock = 4;
constexpr int kTileRows = kVectorsPerColumn * V::kLanes;

// One value or bit mask for each row of a tile.
struct RowValues {
  double lane[kTileRows];
};

// A tile: column c of the block is at [c * kTileRows, (c + 1) * kTileRows).
struct Tile {
  double* x;       // values, compensated so far
  double* errors;  // e_c of the columns that are done
};

// The accumulators of kBlock columns.
struct Columns {
  V::Float part[kBlock][kVectorsPerColumn];
};

Columns load_columns(const double* x) {
  Columns columns;
  for (int i = 0; i < kBlock; ++i) {
    for (int v = 0; v < kVectorsPerColumn; ++v) {
      columns.part[i][v] = V::load(x + i * kTileRows + v * V::kLanes);
    }
  }
  return columns;
}

void store_columns(const Columns& columns, double* x) {
  for (int i = 0; i < kBlock; ++i) {
    for (int v = 0; v < kVectorsPerColumn; ++v) {
      V::store(x + i * kTileRows + v * V::kLanes, columns.part[i][v]);
    }
  }
}

// Adds what columns [begin, end) give to columns first .. first + kBlock - 1.
void add_feedback(Columns& columns, const Tile& tile, const double* lower,
                  std::int64_t width, std::int64_t first, std::int64_t begin,
                  std::int64_t end) {
  const double* row = lower + first * width;
  for (std::int64_t j = begin; j < end; ++j) {
    V::Float e[kVectorsPerColumn];
    for (int v = 0; v < kVectorsPerColumn; ++v) {
      e[v] = V::load(tile.errors + j * kTileRows + v * V::kLanes);
    }
    for (int i = 0; i < kBlock; ++i) {
      const auto l = V::broadcast(row[i * width + j]);
      for (int v = 0; v < kVectorsPerColumn; ++v) {
        columns.part[i][v] = V::add(columns.part[i][v], V::mul(e[v], l));
      }
    }
  }
}

// The frozen scales of one group, a row a lane.
struct GroupScales {
  RowValues first;   // EncodeMultiplier::first
  RowValues second;  // EncodeMultiplier::second
  RowValues decode;
  RowValues keep;  // all bits, or none where every code of the group is zero
};

// Chooses the scale of each row's group; returns the row of a scale beyond its
// type or of a value that is not finite, or -1.
template <Format F, ScaleRule rule>
int choose_scales(const GroupVectors<F, double>& quantizer, const double* x,
                  int rows, GroupScales& out,
                  typename StoredScale<F>::Type* scales,
                  std::int64_t scale_stride) {
  using Q = GroupVectors<F, double>;
  constexpr auto kInfinity = numerics::to_bits(__builtin_huge_val());
  for (int r = 0; r < kTileRows; ++r) {
    double values[Q::kGroup];
    for (int c = 0; c < Q::kGroup; ++c) values[c] = x[c * kTileRows + r];
    const auto group = Q::load(values);
    const auto amax = Q::amax_bits(group);
    if (amax >= kInfinity) return r;
    const double statistic = Q::statistic(group, amax);
    std::uint16_t scale = 0;
    EncodeMultiplier<double> m{1, 0};
    if (statistic != 0) {
      scale = quantizer.template choose_scale<rule>(group, statistic);
      if (scale_overflows<F>(scale)) return r;
      m = quantizer.encode_multiplier(scale);
    }
    out.first.lane[r] = m.first;
    out.second.lane[r] = m.second;
    out.decode.lane[r] = quantizer.decode_multiplier(scale);
    out.keep.lane[r] = std::bit_cast<double>(m.second == 0 ? std::uint64_t{0}
                                                           : ~std::uint64_t{0});
    if (r < rows) {
      scales[r * scale_stride] =
          static_cast<typename StoredScale<F>::Type>(scale);
    }
  }
  return -1;
}

// Quantizes one column: stores codes (one a 64-bit lane) and errors, replaces
// the values by the decoded ones, and returns the errors.
template <Format F>
void quantize_column(V::Float* x, const GroupScales& scales, double* codes,
                     double* errors) {
  for (int v = 0; v < kVectorsPerColumn; ++v) {
    const int lane = v * V::kLanes;
    const auto scaled = V::mul(V::mul(x[v], V::load(scales.first.lane + lane)),
                               V::load(scales.second.lane + lane));
    const auto keep = V::as_int(V::load(scales.keep.lane + lane));
    Rounded<double> rounded;
    if constexpr (numerics::describe(F).element == numerics::Element::kE2m1) {
      rounded = round_e2m1<double>(scaled);
      rounded.value = V::as_float(V::int_and(V::as_int(rounded.value), keep));
    } else {
      rounded = round_int4<double>(scaled);
    }
    const auto decoded =
        V::mul(rounded.value, V::load(scales.decode.lane + lane));
    V::store(codes + lane, V::as_float(V::int_and(rounded.code, keep)));
    V::store(errors + lane, V::sub(decoded, x[v]));
    x[v] = decoded;
  }
}

struct Problem {
  std::int64_t width;
  const double* lower;
};

// All columns of one group; what the columns before the group give is added.
template <Format F>
void quantize_group(const Problem& problem, const Tile& tile,
                    std::int64_t group_begin, const GroupScales& scales,
                    double* codes) {
  constexpr int kGroup = numerics::describe(F).group;
  for (std::int64_t c = group_begin; c < group_begin + kGroup; c += kBlock) {
    double* x = tile.x + c * kTileRows;
    Columns columns = load_columns(x);
    add_feedback(columns, tile, problem.lower, problem.width, c, group_begin,
                 c);
    for (int i = 0; i < kBlock; ++i) {
      quantize_column<F>(columns.part[i], scales,
                         codes + (c - group_begin + i) * kTileRows,
                         tile.errors + (c + i) * kTileRows);
      for (int next = i + 1; next < kBlock; ++next) {
        const auto l =
            V::broadcast(problem.lower[(c + next) * problem.width + c + i]);
        for (int v = 0; v < kVectorsPerColumn; ++v) {
          const auto e =
              V::load(tile.errors + (c + i) * kTileRows + v * V::kLanes);
          columns.part[next][v] = V::add(columns.part[next][v], V::mul(e, l));
        }
      }
    }
    store_columns(columns, x);
  }
}

// Codes of a group, a column after the other, to rows of packed nibbles.
template <int group>
void store_group_codes(const double* codes, int rows, std::uint8_t* out,
                       std::int64_t stride) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < group; c += 2) {
      const auto low = std::bit_cast<std::uint64_t>(codes[c * kTileRows + r]);
      const auto high =
          std::bit_cast<std::uint64_t>(codes[(c + 1) * kTileRows + r]);
      out[r * stride + c / 2] = static_cast<std::uint8_t>(low | high << 4);
    }
  }
}

// Whether all of kTileRows * columns values are finite.
bool all_finite(const double* values, int columns) {
  constexpr auto kInfinity = numerics::to_bits(__builtin_huge_val());
  const auto mask = V::int_broadcast(~std::uint64_t{0} >> 1);
  auto largest = V::int_broadcast(0);
  for (int i = 0; i < columns * kTileRows; i += V::kLanes) {
    largest =
        V::int_max(largest, V::int_and(V::as_int(V::load(values + i)), mask));
  }
  return V::max_bits(largest) < kInfinity;
}

// row * width + column of the first value (columns first) of columns
// [begin, begin + columns) that is not finite, or kAllFinite. Rows beyond the
// last are zeros.
std::int64_t first_not_finite(const double* tile, std::int64_t begin,
                              int columns, std::int64_t width) {
  const double* values = tile + begin * kTileRows;
  if (all_finite(values, columns)) return kAllFinite;
  std::int64_t i = 0;
  while (numerics::is_finite(values[i])) ++i;
  return i % kTileRows * width + begin + i / kTileRows;
}

// One tile of `rows` rows; returns row * width + col of a fault or kAllFinite.
template <Format F, ScaleRule rule>
std::int64_t quantize_tile(const GroupVectors<F, double>& quantizer,
                           const Problem& problem, const Tile& tile, int rows,
                           const FeedbackOutput& out, std::int64_t first_row) {
  constexpr int kGroup = numerics::describe(F).group;
  double codes[kGroup * kTileRows];
  GroupScales group_scales;
  auto* scales = static_cast<typename StoredScale<F>::Type*>(out.scales) +
                 first_row * out.scale_stride;
  for (std::int64_t begin = 0; begin < problem.width; begin += kGroup) {
    for (std::int64_t c = begin; c < begin + kGroup; c += kBlock) {
      Columns columns = load_columns(tile.x + c * kTileRows);
      add_feedback(columns, tile, problem.lower, problem.width, c, 0, begin);
      store_columns(columns, tile.x + c * kTileRows);
    }
    const int overflow = choose_scales<F, rule>(
        quantizer, tile.x + begin * kTileRows, rows, group_scales,
        scales + begin / kGroup, out.scale_stride);
    if (overflow >= 0) {
      const std::int64_t place =
          first_not_finite(tile.x, begin, kGroup, problem.width);
      return first_row * problem.width +
             (place == kAllFinite ? overflow * problem.width + begin : place);
    }
    quantize_group<F>(problem, tile, begin, group_scales, codes);
    // A value that is not finite decodes to a finite one, and leaves an error
    // that is not.
    const std::int64_t place =
        first_not_finite(tile.errors, begin, kGroup, problem.width);
    if (place != kAllFinite) return first_row * problem.width + place;
    store_group_codes<kGroup>(
        codes, rows, out.codes + first_row * out.code_stride + begin / 2,
        out.code_stride);
  }
  return kAllFinite;
}

std::int64_t scratch(std::int64_t width) { return 2 * width * kTileRows; }

// Rows beyond the last are zeros: they quantize to zeros and are not stored.
void load_tile(const double* x, int rows, std::int64_t width,
               std::int64_t stride, double* tile) {
  for (int r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < width; ++c) {
      tile[c * kTileRows + r] = x[r * stride + c];
    }
  }
  for (int r = rows; r < kTileRows; ++r) {
    for (std::int64_t c = 0; c < width; ++c) tile[c * kTileRows + r] = 0;
  }
}

void store_tile(const double* tile, int rows, std::int64_t width,
                std::int64_t stride, double* values) {
  for (int r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < width; ++c) {
      values[r * stride + c] = tile[c * kTileRows + r];
    }
  }
}

std::int64_t quantize(Format format, ScaleRule rule, float unit,
                      const double* x, std::int64_t rows, std::int64_t width,
                      std::int64_t x_stride, const double* lower,
                      const FeedbackOutput& out, double* scratch_values) {
  const Tile tile{scratch_values, scratch_values + width * kTileRows};
  const Problem problem{width, lower};
  return dispatch_format_and_rule(
      format, rule, [&]<Format F, ScaleRule kRule>() -> std::int64_t {
        const GroupVectors<F, double> quantizer(unit);
        for (std::int64_t first = 0; first < rows; first += kTileRows) {
          const std::int64_t left = rows - first;
          const int count =
              left < kTileRows ? static_cast<int>(left) : kTileRows;
          load_tile(x + first * x_stride, count, width, x_stride, tile.x);
          const std::int64_t fault = quantize_tile<F, kRule>(
              quantizer, problem, tile, count, out, first);
          if (fault != kAllFinite) return fault;
          store_tile(tile.x, count, width, out.value_stride,
                     out.values + first * out.value_stride);
        }
        return kAllFinite;
      });
}

}  // namespace

const FeedbackKernels kFeedbackKernels = {scratch, quantize};

}  // namespace wush::kernels::WUSH_ISA
