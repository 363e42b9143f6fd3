#include "lib/linalg/block_math.h"
#include "lib/transform/entries.h"

namespace wush {
namespace {

class Hadamard : public Transform {
 public:
  bool needs_moments() const override { return false; }
  bool is_shared() const override { return true; }
  BlockMatrix fit(int channels, const BlockMoments* /*moments*/,
                  const TransformSeed& /*seed*/) const override {
    return hadamard_matrix(channels);
  }
};

}  // namespace

std::unique_ptr<Transform> make_hadamard(const TransformSpec& /*spec*/) {
  return std::make_unique<Hadamard>();
}

}  // namespace wush
