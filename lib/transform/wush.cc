// wus, wush and kbbq: one closed form with and without the Hadamard matrix that
// equalizes the channels, and with the exponent braked.
#include "lib/linalg/block_math.h"
#include "lib/transform/entries.h"
#include "lib/transform/whitening.h"

namespace wush {
namespace {

class Whitening : public Transform {
 public:
  Whitening(double lambda, bool equalize)
      : lambda_(lambda), equalize_(equalize) {}

  bool needs_moments() const override { return true; }
  bool is_shared() const override { return false; }
  BlockMatrix fit(int channels, const BlockMoments* moments,
                  const TransformSeed& /*seed*/) const override {
    BlockMatrix factor = whitening_factor(*moments, lambda_);
    return equalize_ ? BlockMatrix(hadamard_matrix(channels) * factor) : factor;
  }

 private:
  double lambda_;
  bool equalize_;
};

}  // namespace

std::unique_ptr<Transform> make_wus(const TransformSpec& /*spec*/) {
  return std::make_unique<Whitening>(1.0, false);
}

std::unique_ptr<Transform> make_wush(const TransformSpec& /*spec*/) {
  return std::make_unique<Whitening>(1.0, true);
}

std::unique_ptr<Transform> make_kbbq(const TransformSpec& spec) {
  return std::make_unique<Whitening>(spec.lambda, true);
}

}  // namespace wush
