#include "lib/linalg/block_math.h"
#include "lib/transform/entries.h"

namespace wush {
namespace {

class Random : public Transform {
 public:
  bool needs_moments() const override { return false; }
  bool is_shared() const override { return false; }
  BlockMatrix fit(int channels, const BlockMoments* /*moments*/,
                  const TransformSeed& seed) const override {
    return haar_orthogonal(channels, seed.seed, seed.stream, seed.block);
  }
};

}  // namespace

std::unique_ptr<Transform> make_random(const TransformSpec& /*spec*/) {
  return std::make_unique<Random>();
}

}  // namespace wush
