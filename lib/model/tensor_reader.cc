#include "lib/model/tensor_reader.h"

#include <algorithm>
#include <vector>

namespace wush {

Matrix<float> read_tensor(Device& device, const Checkpoint& checkpoint,
                          const std::string& name, std::int64_t rows,
                          std::int64_t cols) {
  Matrix<float> matrix(device, std::max<std::int64_t>(rows, 1), cols);
  std::vector<std::int64_t> shape = {cols};
  if (rows > 0) shape.insert(shape.begin(), rows);
  std::vector<float> host(static_cast<std::size_t>(matrix.view().size()));
  checkpoint.read(name, shape, host);
  to_device(device, host.data(), matrix.view());
  return matrix;
}

}  // namespace wush
