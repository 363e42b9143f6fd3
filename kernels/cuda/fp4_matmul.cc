#include "kernels/cuda/fp4_matmul.h"

#include <string>

#include "kernels/cuda/fp4_matmul_blackwell.h"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels::cuda {
namespace {

constexpr const char* kName = "fp4_matmul";

// Tokens from which the Hopper kernel beats rereading the weights.
constexpr std::int64_t kHopperTokens = 2 * kSmallTokens + 1;

bool can_block_scale(Format format, std::int64_t cols, int architecture) {
  return (architecture == 120 || architecture == 121) &&
         format != Format::kInt4 && cols % 64 == 0;
}

// Machine code for sm_100a runs on compute capability 10.0 only; rows of codes
// must be whole 16-byte pieces for the tensor copies.
bool can_tcgen05(Format format, std::int64_t cols, int architecture) {
  return architecture == 100 && format != Format::kInt4 && cols % 32 == 0;
}

MatmulKernel choose(Format format, std::int64_t tokens, std::int64_t features,
                    std::int64_t cols, int architecture) {
  if (can_block_scale(format, cols, architecture)) {
    return MatmulKernel::kBlockScaled;
  }
  // Few tokens are few tiles of the tcgen05 kernel, on few multiprocessors.
  if (tokens < kHopperTokens) {
    if (can_few_hopper_matmul(cols, architecture) &&
        prefer_few_hopper_matmul(tokens, features, cols)) {
      return MatmulKernel::kFewHopper;
    }
    return can_batch_matmul(cols, architecture) &&
                   prefer_batch_matmul(tokens, features, cols)
               ? MatmulKernel::kBatch
               : MatmulKernel::kSmall;
  }
  if (can_tcgen05(format, cols, architecture)) return MatmulKernel::kTcgen05;
  if (architecture == 90 && cols % 32 == 0) return MatmulKernel::kHopper;
  return MatmulKernel::kPortable;
}

struct Plan {
  MatmulKernel kernel;
  DeviceInfo device;
  std::int64_t workspace;
};

Status make_plan(MatmulKernel kernel, Format format, std::int64_t tokens,
                 std::int64_t features, std::int64_t cols, Plan* plan) {
  const int group = numerics::describe(format).group;
  if (tokens < 0 || features < 0 || cols < 0) {
    return failure(kName, {tokens, features, cols}, "a size is negative");
  }
  if (cols == 0 || cols % group != 0) {
    return failure(
        kName, {tokens, features, cols},
        "columns must be one or more groups of " + std::to_string(group));
  }
  if (Status s = device_info(&plan->device); !s.ok()) return s;
  const int architecture = plan->device.architecture;
  if (architecture < 80) {
    return failure(kName, {tokens, features, cols},
                   "needs compute capability 8.0, found " +
                       std::to_string(architecture / 10) + "." +
                       std::to_string(architecture % 10));
  }
  plan->kernel = kernel == MatmulKernel::kAuto
                     ? choose(format, tokens, features, cols, architecture)
                     : kernel;
  plan->workspace = 0;
  if (plan->kernel == MatmulKernel::kBlockScaled &&
      !can_block_scale(format, cols, architecture)) {
    return failure(kName, {tokens, features, cols},
                   "the block-scaled kernel needs compute capability 12.0, an "
                   "e2m1 format and columns a multiple of 64");
  }
  if (plan->kernel == MatmulKernel::kTcgen05 &&
      !can_tcgen05(format, cols, architecture)) {
    return failure(kName, {tokens, features, cols},
                   "the tcgen05 kernel needs compute capability 10.0, an e2m1 "
                   "format and columns a multiple of 32");
  }
  if (plan->kernel == MatmulKernel::kHopper) {
    if (architecture != 90) {
      return failure(kName, {tokens, features, cols},
                     "the Hopper kernel needs compute capability 9.0");
    }
    if (cols % 32 != 0) {
      return failure(kName, {tokens, features, cols},
                     "the Hopper kernel needs columns a multiple of 32");
    }
    plan->workspace = hopper_workspace(
        tokens, cols,
        hopper_tile_tokens(tokens, features, plan->device.multiprocessors));
  }
  if (plan->kernel == MatmulKernel::kFewHopper &&
      !can_few_hopper_matmul(cols, architecture)) {
    return failure(kName, {tokens, features, cols},
                   "the kernel for few tokens by warpgroups needs compute "
                   "capability 9.0 and columns a multiple of 256");
  }
  if (plan->kernel == MatmulKernel::kBatch) {
    if (!can_batch_matmul(cols, architecture)) {
      return failure(kName, {tokens, features, cols},
                     "the batch kernel needs compute capability 9.0 and "
                     "columns a multiple of 128");
    }
    plan->workspace =
        batch_workspace(tokens, features, cols, plan->device.multiprocessors);
  }
  return {};
}

}  // namespace

Status fp4_matmul_workspace(MatmulKernel kernel, Format format,
                            std::int64_t x_rows, std::int64_t w_rows,
                            std::int64_t cols, std::int64_t* bytes) {
  Plan plan;
  Status status = make_plan(kernel, format, x_rows, w_rows, cols, &plan);
  *bytes = status.ok() ? plan.workspace : 0;
  return status;
}

Status fp4_matmul(MatmulKernel kernel, Format format, std::int64_t cols,
                  const QuantizedMatrix& x, const QuantizedMatrix& w,
                  const MatmulOutput& out, void* workspace,
                  std::int64_t workspace_bytes, Stream stream) {
  Plan plan;
  if (Status s = make_plan(kernel, format, x.rows, w.rows, cols, &plan);
      !s.ok()) {
    return s;
  }
  const auto refuse = [&](const std::string& why) {
    return failure(kName, {x.rows, w.rows, cols}, why);
  };
  if (out.type == DataType::kFloat16) {
    return refuse("float16 output is not supported");
  }
  if (!numerics::is_valid_unit(format, x.unit) ||
      !numerics::is_valid_unit(format, w.unit)) {
    return refuse("a unit is not valid for " +
                  std::string(numerics::describe(format).name));
  }
  if (!aligned({x.codes, w.codes, x.scales, w.scales, out.y, workspace})) {
    return refuse("pointers must be 16-byte aligned");
  }
  if (workspace_bytes < plan.workspace) {
    return refuse("needs a workspace of " + std::to_string(plan.workspace) +
                  " bytes, found " + std::to_string(workspace_bytes));
  }
  if (x.rows == 0 || w.rows == 0) return {};
  const auto unit = [&](float u) {
    return u == numerics::kFormatUnit ? numerics::describe(format).unit : u;
  };
  const MatmulProblem problem{format,
                              x.rows,
                              w.rows,
                              cols,
                              x,
                              w,
                              static_cast<float>(unit(x.unit) * unit(w.unit)),
                              out,
                              workspace,
                              plan.device.multiprocessors,
                              stream};
  cudaError_t error = cudaSuccess;
  switch (plan.kernel) {
    case MatmulKernel::kHopper:
      error = launch_hopper_matmul(problem);
      break;
    case MatmulKernel::kBatch:
      error = launch_batch_matmul(problem);
      break;
    case MatmulKernel::kFewHopper:
      if (const auto launched = launch_few_hopper_matmul(problem)) {
        return *launched;
      }
      if (kernel != MatmulKernel::kAuto) {
        return refuse("the columns are too many for the device's clusters");
      }
      error = launch_small_matmul(problem);
      break;
    case MatmulKernel::kBlockScaled:
      error = launch_sm120_matmul(problem);
      break;
    case MatmulKernel::kTcgen05:
      return launch_sm100_matmul(problem);
    case MatmulKernel::kPortable:
      error = launch_portable_matmul(problem);
      break;
    case MatmulKernel::kSmall:
    case MatmulKernel::kAuto:
      error = launch_small_matmul(problem);
      break;
  }
  return check(error, kName, {x.rows, w.rows, cols});
}

}  // namespace wush::kernels::cuda
