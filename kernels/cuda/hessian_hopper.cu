// wgmma: tiles of 128 rows by 256 or 128 columns of H. Both operands are boxes
// of 64 tokens by 64 channels of x as they lie in memory, k across their rows.
// Two blocks, a cluster, take neighbouring row tiles and the same columns, each
// bringing half of the columns' boxes to both.
#include <algorithm>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/hessian_kernels.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/warpgroup.cuh"

namespace wush::kernels::cuda {
namespace {

constexpr int kRows = 128;
constexpr int kBox = 64;
constexpr int kBoxBytes = kBox * kBox * 2;
constexpr int kConsumers = 2;  // warpgroups, 64 rows each
constexpr int kThreads = 128 * (kConsumers + 1);

constexpr int kWide = 256, kNarrow = 128;  // columns of a tile
constexpr int kStageBytes = (kRows + kWide) / kBox * kBoxBytes;
constexpr int kStages = 4;
constexpr int kSharedBytes = kStages * kStageBytes + kStages * 16 + 1024;

// A pair of row tiles r reaches 2 r + 1 squares of 128 x 128 with both of its
// rows, the last one up to the diagonal, and one more with the lower row. What
// a cluster does at a time:
enum class TileKind : std::uint8_t {
  kWide,    // two squares of each row: reads shared memory less for a product
  kNarrow,  // one square of each row
  kAlone,   // the lower row's last square of two pairs: nothing is shared
};

struct HessianTile {
  TileKind kind;
  int row, column;  // of this block, in squares
};

// Wide tiles are walked in bands of kBandPairs pairs of rows, column by column,
// so that those that run at once share both operands in the second-level cache.
constexpr int kBandPairs = 8;

struct TriangleTiles {
  int pairs;  // of row tiles
  bool wide;  // otherwise too few to go round: all narrow

  __host__ __device__ int wide_tiles() const {
    return wide ? pairs * (pairs - 1) / 2 : 0;
  }
  __host__ __device__ int narrow_tiles() const {
    return (wide ? pairs : pairs * pairs) + (pairs + 1) / 2;
  }

  __device__ HessianTile wide_tile(int index, int rank) const {
    int first = 0;  // pair of the band
    while (index >= pairs_before(min(first + kBandPairs, pairs))) {
      first += kBandPairs;
    }
    index -= pairs_before(first);
    const int height = min(kBandPairs, pairs - first);
    int column = min(index / height, first);
    index -= column * height;
    int above = first;  // the column's first pair
    while (column >= first && index >= height - 1 - (column - first)) {
      index -= height - 1 - (column - first);
      ++column;
    }
    if (column >= first) above = column + 1;
    return {TileKind::kWide, 2 * (above + index) + rank, 2 * column};
  }
  // Wide tiles of the pairs before this one.
  __device__ static int pairs_before(int pair) { return pair * (pair - 1) / 2; }

  __device__ HessianTile narrow_tile(int index, int rank) const {
    const int shared = wide ? pairs : pairs * pairs;
    if (index >= shared) {
      const int last = 2 * (2 * (index - shared) + rank) + 1;
      return {TileKind::kAlone, last, last};
    }
    if (wide) return {TileKind::kNarrow, 2 * index + rank, 2 * index};
    int pair = static_cast<int>(sqrtf(static_cast<float>(index)));
    while (pair * pair > index) --pair;
    while ((pair + 1) * (pair + 1) <= index) ++pair;
    return {TileKind::kNarrow, 2 * pair + rank, index - pair * pair};
  }

  // The tiles of a cluster: wide ones in turn, then the others, first on the
  // clusters that got one wide tile less: two each.
  __device__ bool locate(int step, HessianTile* tile) const {
    const int clusters = static_cast<int>(gridDim.x) / 2;
    const int cluster = static_cast<int>(blockIdx.x) / 2;
    const int rank = cluster_rank();
    const int all = wide_tiles();
    const int own = cluster < all ? (all - 1 - cluster) / clusters + 1 : 0;
    if (step < own) {
      *tile = wide_tile(cluster + step * clusters, rank);
      return true;
    }
    step -= own;
    const int later = all % clusters;  // clusters with one wide tile more
    const int early = later == 0 ? 0 : clusters - later;
    int index = 2 * early + cluster + step * clusters;
    if (cluster >= later && early != 0) {
      const int place = cluster - later;
      index = step < 2 ? place + step * early
                       : 2 * early + cluster + (step - 2) * clusters;
    }
    if (index >= narrow_tiles()) return false;
    *tile = narrow_tile(index, rank);
    return true;
  }
};

// Time of the busiest cluster, in squares; one alone takes longer than its half
// of a wide tile.
inline double triangle_cost(const TriangleTiles& tiles, int clusters) {
  constexpr double kSingle = 1.2;
  const int wide = tiles.wide_tiles(), narrow = tiles.narrow_tiles();
  const int early = wide % clusters == 0 ? 0 : clusters - wide % clusters;
  const auto rounds = [&](int count) {
    return static_cast<double>(ceil_div(std::max(count, 0), clusters));
  };
  return std::max(2 * rounds(wide),
                  2 * static_cast<double>(wide / clusters) +
                      kSingle * rounds(std::min(narrow, early))) +
         kSingle * rounds(narrow - 2 * early);
}

// Pairs of columns of a lane that are added together.
constexpr int kPairs = 8;

struct RingPlace {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

struct HessianRing {
  unsigned char* stages;
  std::uint64_t* full;
  std::uint64_t* empty;
};

template <int kColumns>
__device__ inline void produce_tile(const CUtensorMap& map,
                                    const HessianRing& ring, RingPlace& place,
                                    const HessianTile& tile, int first_token,
                                    int steps) {
  constexpr int kRowBoxes = kRows / kBox, kColumnBoxes = kColumns / kBox;
  const int row = tile.row * kRows, column = tile.column * kNarrow;
  const bool alone = tile.kind == TileKind::kAlone;
  const int rank = cluster_rank();
  for (int s = 0; s < steps; ++s) {
    barrier_wait(&ring.empty[place.stage], place.parity ^ 1);
    std::uint64_t* full = &ring.full[place.stage];
    barrier_expect(full, (kRowBoxes + kColumnBoxes) * kBoxBytes);
    unsigned char* to = ring.stages + place.stage * kStageBytes;
    const int token = first_token + s * kBox;
#pragma unroll
    for (int box = 0; box < kRowBoxes; ++box) {
      copy_box(to + box * kBoxBytes, &map, row + box * kBox, token, full);
    }
    to += kRowBoxes * kBoxBytes;
#pragma unroll
    for (int box = 0; box < kColumnBoxes; ++box) {
      if (alone) {
        copy_box(to + box * kBoxBytes, &map, column + box * kBox, token, full);
      } else if (box / (kColumnBoxes / 2) == rank) {
        copy_box_to(3, to + box * kBoxBytes, &map, column + box * kBox, token,
                    full);
      }
    }
    place.advance();
  }
}

// A warpgroup's 64 rows of a tile.
template <int kColumns>
__device__ inline void multiply_tile(const HessianRing& ring, RingPlace& place,
                                     const HessianTile& tile, int steps,
                                     const HessianOutput& out) {
  const int warpgroup = threadIdx.x / 128;
  const int lane = threadIdx.x & 31;
  // Both blocks write to the stages of both.
  const auto release = [&](int stage) {
    if (lane < 2) barrier_arrive_of(&ring.empty[stage], lane);
  };
  float sums[kColumns / 2];
  int last = -1;
  for (int s = 0; s < steps; ++s) {
    barrier_wait(&ring.full[place.stage], place.parity);
    const unsigned char* from = ring.stages + place.stage * kStageBytes;
    const std::uint64_t a =
        tile_descriptor(from + warpgroup * kBoxBytes, 1024, kBoxBytes);
    const std::uint64_t b =
        tile_descriptor(from + kRows / kBox * kBoxBytes, 1024, kBoxBytes);
    warpgroup_fence();
#pragma unroll
    for (int k = 0; k < kBox / 16; ++k) {
      // 16 tokens on are 2048 bytes.
      multiply_transposed(sums, a + 128 * k, b + 128 * k, s != 0 || k != 0);
    }
    warpgroup_commit();
    warpgroup_wait<1>();
    if (last >= 0) release(last);
    last = place.stage;
    place.advance();
  }
  warpgroup_wait<0>();
  release(last);
  const int warp = (threadIdx.x & 127) >> 5;
  const int g = lane >> 2, t = lane & 3;
  const std::int64_t m =
      tile.row * std::int64_t{kRows} + warpgroup * 64 + warp * 16 + g;
  const std::int64_t n = tile.column * std::int64_t{kNarrow} + 2 * t;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int j = 0; j < kColumns / 8; j += kPairs) {
      float2 pairs[kPairs];
#pragma unroll
      for (int i = 0; i < kPairs; ++i) {
        const float* sum = sums + 4 * (j + i) + 2 * half;
        pairs[i] = make_float2(sum[0], sum[1]);
      }
      out.add_pairs(m + 8 * half, n + 8 * j, pairs);
    }
  }
}

template <bool kCompensated>
__global__ __launch_bounds__(kThreads, 1) void hopper_hessian_kernel(
    const __grid_constant__ CUtensorMap map, int first_token, int tokens,
    TriangleTiles tiles, HessianOutput out) {
  if (!kCompensated) out.residual = nullptr;  // so that the compiler knows
  extern __shared__ unsigned char raw[];
  unsigned char* base = raw + (-shared_address(raw) & 1023u);
  auto* full = reinterpret_cast<std::uint64_t*>(base + kStages * kStageBytes);
  const HessianRing ring{base, full, full + kStages};
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&ring.full[i], 1);
      barrier_init(&ring.empty[i], 2 * kConsumers * 4);
    }
    fence_barrier_init();
  }
  allow_next_launch();
  cluster_sync();
  wait_for_previous_launch();
  const int steps = (tokens + kBox - 1) / kBox;
  RingPlace place;
  HessianTile tile;
  if (threadIdx.x / 128 == kConsumers) {
    give_registers<40>();
    if (threadIdx.x == kConsumers * 128) {
      for (int i = 0; tiles.locate(i, &tile); ++i) {
        if (tile.kind == TileKind::kWide) {
          produce_tile<kWide>(map, ring, place, tile, first_token, steps);
        } else {
          produce_tile<kNarrow>(map, ring, place, tile, first_token, steps);
        }
      }
    }
  } else {
    take_registers<232>();
    for (int i = 0; tiles.locate(i, &tile); ++i) {
      if (tile.kind == TileKind::kWide) {
        multiply_tile<kWide>(ring, place, tile, steps, out);
      } else {
        multiply_tile<kNarrow>(ring, place, tile, steps, out);
      }
    }
  }
  __syncwarp();
  cluster_sync();  // a block that ends takes its shared memory along
}

cudaError_t launch_hopper(const CUtensorMap& map, std::int64_t first,
                          std::int64_t tokens, const HessianOutput& out,
                          int multiprocessors, cudaStream_t stream) {
  const auto pairs = static_cast<int>(ceil_div(out.channels, 2 * kRows));
  const int most = std::max(multiprocessors / 2, 1);
  TriangleTiles tiles{pairs, true};
  const TriangleTiles single{pairs, false};
  if (triangle_cost(single, most) < triangle_cost(tiles, most)) tiles = single;
  const int clusters =
      std::min(std::max(tiles.wide_tiles(), tiles.narrow_tiles()), most);
  return launch_overlapping(
      out.residual != nullptr ? hopper_hessian_kernel<true>
                              : hopper_hessian_kernel<false>,
      {dim3(static_cast<unsigned>(2 * clusters)), kThreads, kSharedBytes,
       stream, 2},
      map, static_cast<int>(first), static_cast<int>(tokens), tiles, out);
}

}  // namespace

Status launch_hopper_hessian(const void* x, std::int64_t tokens,
                             std::int64_t chunk, const HessianOutput& out,
                             int multiprocessors, cudaStream_t stream) {
  CUtensorMap map{};
  const TensorMapSource source{
      x, tokens, out.channels, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, kBox, kBox};
  if (Status s = encode_tensor_map(kHessianName, source, &map); !s.ok()) {
    return s;
  }
  for (std::int64_t first = 0; first < tokens; first += chunk) {
    const cudaError_t error =
        launch_hopper(map, first, std::min(chunk, tokens - first), out,
                      multiprocessors, stream);
    if (error != cudaSuccess) {
      return check(error, kHessianName, {tokens, out.channels});
    }
  }
  return {};
}

}  // namespace wush::kernels::cuda
