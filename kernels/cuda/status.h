// Outcome of a CUDA call.
#pragma once

#include <string>
#include <utility>

namespace wush::kernels::cuda {

// Empty message: done (or enqueued). Otherwise one line that names the kernel,
// the shape and what is unsupported or what CUDA reported.
class [[nodiscard]] Status {
 public:
  Status() = default;
  explicit Status(std::string message) : message_(std::move(message)) {}
  bool ok() const { return message_.empty(); }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

}  // namespace wush::kernels::cuda
