// Row-major matrices in the memory of a device. Views borrow, matrices own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "kernels/numerics/format.h"

namespace wush {

class Device;

// Row-major [rows, cols]; consecutive rows are `stride` elements apart. `data`
// is an address of the device, which the host may not be able to read.
template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* pointer, std::int64_t row_count, std::int64_t col_count,
             std::int64_t row_stride)
      : data(pointer), rows(row_count), cols(col_count), stride(row_stride) {}
  // A view of mutable elements is also one of constant elements.
  template <class U>
  requires(std::is_same_v<T, const U> && !std::is_same_v<T, U>) MatrixView(
      const MatrixView<U>& other)  // NOLINT: implicit like T* to const T*
      : MatrixView(other.data, other.rows, other.cols, other.stride) {}

  T* row(std::int64_t i) const { return data + i * stride; }
  MatrixView rows_from(std::int64_t begin, std::int64_t count) const {
    return {data + begin * stride, count, cols, stride};
  }
  MatrixView cols_from(std::int64_t begin, std::int64_t count) const {
    return {data + begin, rows, count, stride};
  }
  // The same memory as [rows * cols / new_cols, new_cols]; must be contiguous.
  MatrixView reshaped(std::int64_t new_cols) const {
    return {data, rows * cols / new_cols, new_cols, new_cols};
  }
  bool contiguous() const { return stride == cols || rows <= 1; }
  std::int64_t size() const { return rows * cols; }
};

// Memory of a device, given back when the last owner goes.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(Device& device, std::size_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceMemory();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceMemory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Owning, contiguous row-major matrix; its contents start undefined.
template <class T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(Device& device, std::int64_t rows, std::int64_t cols)
      : memory_(device, static_cast<std::size_t>(rows * cols) * sizeof(T)),
        rows_(rows),
        cols_(cols) {}

  MatrixView<T> view() {
    return {static_cast<T*>(memory_.data()), rows_, cols_, cols_};
  }
  MatrixView<const T> view() const {
    return {static_cast<const T*>(memory_.data()), rows_, cols_, cols_};
  }
  T* data() { return static_cast<T*>(memory_.data()); }
  const T* data() const { return static_cast<const T*>(memory_.data()); }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  bool empty() const { return rows_ * cols_ == 0; }

 private:
  DeviceMemory memory_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
};

// A quantized [rows, cols] matrix: codes two per byte, even column in the low
// nibble, rows cols/2 bytes; scales [rows, cols / group] row-major, one or two
// bytes each; groups run along cols.
struct PackedView {
  numerics::Format format = numerics::Format::kMxfp4;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::uint8_t* codes = nullptr;
  std::uint8_t* scales = nullptr;
  float unit = 0;  // decode constant of the tensor; 0: the format's own

  PackedView rows_from(std::int64_t begin, std::int64_t count) const;
  std::int64_t groups() const { return cols / describe(format).group; }
  std::int64_t code_bytes() const { return rows * cols / 2; }
  std::int64_t scale_bytes() const {
    return rows * groups() * describe(format).scale_bytes();
  }
};

class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(Device& device, numerics::Format format, std::int64_t rows,
               std::int64_t cols);

  // The view writes through: constness of the owner is not carried over.
  PackedView view() const { return view_; }
  void set_unit(float unit) { view_.unit = unit; }
  std::int64_t rows() const { return view_.rows; }
  std::int64_t cols() const { return view_.cols; }

 private:
  DeviceMemory memory_;
  PackedView view_;
};

// Block-diagonal transform: y_j = sum_k T[j, k] x_k for each block of `width`
// channels; data [blocks, width, width], or [1, width, width] when all blocks
// share one matrix, or null for the identity.
struct BlockTransformView {
  const float* data = nullptr;
  std::int64_t width = 0;
  bool shared = false;
};

}  // namespace wush
