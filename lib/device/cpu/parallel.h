// Fixed pieces of work over the threads of the CPU device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

namespace wush::cpu {

// Calls body(i) for i in [0, count), each once, on up to `threads` threads, the
// caller's among them. What a piece computes may not depend on the thread. Of
// the exceptions thrown, the one of the smallest i is passed on, so that
// messages do not depend on threads. Calls from within a body, or while another
// thread's call is under way, run on the caller's thread alone.
//
// Threads that wait sleep: with OpenMP, whose barriers spin, two runs that
// share two cores took twenty times as long as one after the other.
void parallel_for(int threads, std::int64_t count,
                  const std::function<void(std::int64_t)>& body);

constexpr std::int64_t pieces(std::int64_t size, std::int64_t tile) {
  return (size + tile - 1) / tile;
}

// Calls body(begin, count) for consecutive ranges of at most `tile`.
template <class Body>
void parallel_ranges(int threads, std::int64_t size, std::int64_t tile,
                     const Body& body) {
  parallel_for(threads, pieces(size, tile), [&](std::int64_t i) {
    const std::int64_t begin = i * tile;
    body(begin, std::min(tile, size - begin));
  });
}

// Calls body(row, rows, col, cols) for the tiles of a rows x cols rectangle.
template <class Body>
void parallel_tiles(int threads, std::int64_t rows, std::int64_t cols,
                    std::int64_t tile_rows, std::int64_t tile_cols,
                    const Body& body) {
  const std::int64_t across = pieces(cols, tile_cols);
  parallel_for(threads, pieces(rows, tile_rows) * across, [&](std::int64_t i) {
    const std::int64_t row = i / across * tile_rows;
    const std::int64_t col = i % across * tile_cols;
    body(row, std::min(tile_rows, rows - row), col,
         std::min(tile_cols, cols - col));
  });
}

}  // namespace wush::cpu
