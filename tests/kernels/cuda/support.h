// Device memory, test data and the skip for machines without a GPU.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/types.h"
#include "kernels/numerics/bfloat16.h"

// Skips the test, by name, where there is no CUDA device.
#define WUSH_REQUIRE_GPU()                        \
  if (::wush::kernels::cuda::device_count() == 0) \
  GTEST_SKIP() << "needs a CUDA device"

#define EXPECT_OK(expression)                                   \
  do {                                                          \
    const ::wush::kernels::cuda::Status status_ = (expression); \
    ASSERT_TRUE(status_.ok()) << status_.message();             \
  } while (false)

#define CUDA_OK(expression) ASSERT_EQ((expression), cudaSuccess)

namespace wush::testing {

// Device memory of `size` values; filled with a pattern of NaN bytes at first,
// so that a value that was not written shows.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t size) : size_(size) {
    EXPECT_EQ(cudaMalloc(&data_, bytes() + 16), cudaSuccess);
    EXPECT_EQ(cudaMemset(data_, 0xff, bytes() + 16), cudaSuccess);
  }
  explicit DeviceBuffer(const std::vector<T>& host)
      : DeviceBuffer(host.size()) {
    EXPECT_EQ(cudaMemcpy(data_, host.data(), bytes(), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { EXPECT_EQ(cudaFree(data_), cudaSuccess); }

  T* get() const { return static_cast<T*>(data_); }
  std::size_t bytes() const { return size_ * sizeof(T); }
  // After everything on the device has run.
  std::vector<T> host() const {
    std::vector<T> values(size_);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(values.data(), data_, bytes(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

 private:
  std::size_t size_;
  void* data_ = nullptr;
};

enum class Data {
  kNormal,
  kHeavyTailed,  // Cauchy, with outliers of 1e4
  kSubnormal,
  kPowersOfTwo,  // with ties of every rounding
  kEighths,      // multiples of 1/8 up to 4: midpoints of many grids
  kZeros,        // of both signs
};

inline const char* name_of(Data data) {
  switch (data) {
    case Data::kNormal:
      return "normal";
    case Data::kHeavyTailed:
      return "heavy_tailed";
    case Data::kSubnormal:
      return "subnormal";
    case Data::kPowersOfTwo:
      return "powers_of_two";
    case Data::kEighths:
      return "eighths";
    case Data::kZeros:
      break;
  }
  return "zeros";
}

// Values that the type holds exactly; every eighth group or so of 16 is zero.
inline std::vector<float> make_data(Data data, std::size_t size,
                                    std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::cauchy_distribution<float> cauchy;
  std::uniform_int_distribution<int> small(-20, 20), bits(0, 0x7f);
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) {
    const float sign = (random() & 1u) != 0 ? -1.0f : 1.0f;
    switch (data) {
      case Data::kNormal:
        values[i] = normal(random) * 0.7f;
        break;
      case Data::kHeavyTailed:
        values[i] = cauchy(random) * (random() % 97 == 0 ? 1e4f : 1.0f);
        break;
      case Data::kSubnormal:
        values[i] = sign * std::bit_cast<float>(
                               static_cast<std::uint32_t>(bits(random)) << 16);
        break;
      case Data::kPowersOfTwo:
        values[i] = sign * std::ldexp(random() % 3 == 0 ? 1.5f : 1.0f,
                                      small(random) / 4);
        break;
      case Data::kEighths:
        values[i] = sign * static_cast<float>(random() % 33) / 8;
        break;
      case Data::kZeros:
        values[i] = sign * 0.0f;
        break;
    }
    if (i / 16 % 8 == 5) values[i] = sign * 0.0f;
  }
  return values;
}

// Rounds values to a storage type; `stored` is what the device gets, `values`
// become what it stands for.
struct Stored {
  kernels::cuda::DataType type;
  std::vector<std::uint8_t> bytes;
  std::vector<float> values;
};

inline std::uint16_t float16_encode(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  return std::bit_cast<std::uint16_t>(half);
}

inline Stored store_as(kernels::cuda::DataType type,
                       const std::vector<float>& values) {
  using kernels::cuda::DataType;
  Stored stored{type, {}, values};
  const auto append = [&](auto x) {
    const auto raw = std::bit_cast<std::array<std::uint8_t, sizeof(x)>>(x);
    stored.bytes.insert(stored.bytes.end(), raw.begin(), raw.end());
  };
  for (float& v : stored.values) {
    if (type == DataType::kFloat32) {
      append(v);
    } else if (type == DataType::kBfloat16) {
      const std::uint16_t bits = numerics::bfloat16_encode(v);
      v = numerics::bfloat16_decode(bits);
      append(bits);
    } else {
      if (std::abs(v) > 65504) v = std::copysign(65504.0f, v);
      const std::uint16_t bits = float16_encode(v);
      v = numerics::float16_decode(bits);
      append(bits);
    }
  }
  return stored;
}

inline const char* name_of(kernels::cuda::DataType type) {
  using kernels::cuda::DataType;
  return type == DataType::kBfloat16  ? "bfloat16"
         : type == DataType::kFloat16 ? "float16"
                                      : "float32";
}

// A quantized matrix on the host, by the scalar specification.
struct HostQuantized {
  std::vector<std::uint8_t> codes;   // packed
  std::vector<std::uint8_t> scales;  // bytes
};

HostQuantized quantize_by_specification(kernels::cuda::Format format,
                                        kernels::cuda::ScaleRule rule,
                                        float unit,
                                        const std::vector<float>& x);

// Element value times scale, without the unit, in double.
std::vector<double> decode_by_specification(
    kernels::cuda::Format format, const std::vector<std::uint8_t>& codes,
    const std::vector<std::uint8_t>& scales);

std::string test_name(std::string name);

}  // namespace wush::testing
