// Tables of the functions that exist once for each instruction set.
//
// Everything in this folder but the tables lives in a namespace named after its
// instruction set (the macro WUSH_ISA: portable, avx2 or avx512), so that no
// inline function compiled for one is ever linked into another.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/model_ops.h"
#include "kernels/cpu/quantize.h"
#include "kernels/cpu/quantize_feedback.h"

namespace wush::kernels {

// The signatures and meanings are those of quantize.h, arguments already
// checked.
struct QuantizeKernels {
  std::int64_t (*quantize_float)(Format, ScaleRule, float unit, const float* x,
                                 std::int64_t rows, std::int64_t cols,
                                 std::int64_t stride, std::uint8_t* codes,
                                 void* scales);
  std::int64_t (*quantize_double)(Format, ScaleRule, float unit,
                                  const double* x, std::int64_t rows,
                                  std::int64_t cols, std::int64_t stride,
                                  std::uint8_t* codes, void* scales);
  void (*dequantize_float)(Format, float unit, const std::uint8_t* codes,
                           const void* scales, std::int64_t rows,
                           std::int64_t cols, std::int64_t stride, float* out);
  void (*dequantize_double)(Format, float unit, const std::uint8_t* codes,
                            const void* scales, std::int64_t rows,
                            std::int64_t cols, std::int64_t stride,
                            double* out);
};

// quantize_feedback.h; quantize() needs scratch(width) doubles.
struct FeedbackKernels {
  std::int64_t (*scratch)(std::int64_t width);
  std::int64_t (*quantize)(Format, ScaleRule, float unit, const double* x,
                           std::int64_t rows, std::int64_t width,
                           std::int64_t x_stride, const double* lower,
                           const FeedbackOutput& out, double* scratch);
};

// model_ops.h.
struct ModelKernels {
  decltype(&wush::kernels::rms_norm) rms_norm;
  decltype(&wush::kernels::rope) rope;
  decltype(&wush::kernels::silu_multiply) silu_multiply;
  decltype(&wush::kernels::masked_softmax) masked_softmax;
  decltype(&wush::kernels::add) add;
  decltype(&wush::kernels::add_bias) add_bias;
  decltype(&wush::kernels::widen_bfloat16) widen_bfloat16;
  decltype(&wush::kernels::widen_float16) widen_float16;
  decltype(&wush::kernels::exponential) exponential;
  decltype(&wush::kernels::log_sum_exp) log_sum_exp;
  decltype(&wush::kernels::divergence) divergence;
};

// block_transform.h.
struct TransformKernels {
  // One block of all rows; t_transposed is [block k][block j].
  void (*apply)(const float* x, std::int64_t rows, std::int64_t block,
                std::int64_t x_stride, const float* t_transposed, float* y,
                std::int64_t y_stride);
  void (*hadamard)(float* x, std::int64_t rows, std::int64_t blocks,
                   std::int64_t block, std::int64_t stride);
};

struct Kernels {
  const QuantizeKernels* quantize;
  const FeedbackKernels* feedback;
  const ModelKernels* model;
  const TransformKernels* transform;
};

// The tables of an instruction set; `isa` must be available.
const Kernels& kernels_for(Isa isa);

// kernels_for(best_isa()), looked up once.
const Kernels& best_kernels();

#define WUSH_DECLARE_KERNELS(isa)                  \
  namespace isa {                                  \
  extern const QuantizeKernels kQuantizeKernels;   \
  extern const FeedbackKernels kFeedbackKernels;   \
  extern const ModelKernels kModelKernels;         \
  extern const TransformKernels kTransformKernels; \
  }
WUSH_DECLARE_KERNELS(portable)
WUSH_DECLARE_KERNELS(avx2)
WUSH_DECLARE_KERNELS(avx512)
#undef WUSH_DECLARE_KERNELS

}  // namespace wush::kernels
