#include "lib/device/matrix.h"

#include "lib/device/device.h"
#include "lib/support/error.h"

namespace wush {

DeviceMemory::DeviceMemory(Device& device, std::size_t bytes)
    : device_(&device), data_(device.allocate(bytes)), bytes_(bytes) {}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) device_->release(data_, bytes_);
}

PackedView PackedView::rows_from(std::int64_t begin, std::int64_t count) const {
  PackedView part = *this;
  part.rows = count;
  part.codes += begin * (cols / 2);
  part.scales += begin * groups() * describe(format).scale_bytes();
  return part;
}

PackedMatrix::PackedMatrix(Device& device, numerics::Format format,
                           std::int64_t rows, std::int64_t cols) {
  WUSH_CHECK(cols % describe(format).group == 0,
             "{} columns are not whole groups of {}", cols,
             describe(format).name);
  view_.format = format;
  view_.rows = rows;
  view_.cols = cols;
  // Scales follow the codes on a 64-byte boundary.
  const std::int64_t code_bytes = (view_.code_bytes() + 63) / 64 * 64;
  memory_ = DeviceMemory(
      device, static_cast<std::size_t>(code_bytes + view_.scale_bytes()));
  view_.codes = static_cast<std::uint8_t*>(memory_.data());
  view_.scales = view_.codes + code_bytes;
}

}  // namespace wush
