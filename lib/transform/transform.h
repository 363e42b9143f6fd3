// Block transforms: one K x K matrix T_i per block of K input channels. Online
// x_i -> T_i x_i, offline W_i -> W_i T_i^-1, so that W x is unchanged.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace wush {

// Fills a K x K matrix; double precision throughout.
using BlockMatrix = Eigen::MatrixXd;

// Second moments of one block, undamped, both [K, K] and symmetric.
struct BlockMoments {
  BlockMatrix weight;      // M_i = W_i^T W_i / out
  BlockMatrix activation;  // Sigma_i = E[x_i x_i^T], or its conditional form
};

// What a random transform is keyed by.
struct TransformSeed {
  std::uint64_t seed = 0;    // of the cell (and repeat)
  std::uint64_t stream = 0;  // of the linear: hash of layer and name
  std::uint64_t block = 0;
};

class Transform {
 public:
  virtual ~Transform() = default;

  // True when fit() reads the moments.
  virtual bool needs_moments() const = 0;
  // True when every block of every linear has the same matrix.
  virtual bool is_shared() const = 0;
  // True when T is the identity and need not be stored or applied.
  virtual bool is_identity() const { return false; }

  // T_i [K, K] of one block of K channels (a power of two for those that
  // contain a Hadamard matrix), from moments that are already damped, so both
  // are positive definite. `moments` may be null unless needs_moments().
  // Throws NumericalError when a factorization fails.
  virtual BlockMatrix fit(int channels, const BlockMoments* moments,
                          const TransformSeed& seed) const = 0;
};

// A transform as named in an experiment file, with its parameters.
struct TransformSpec {
  std::string name;
  double lambda = 1.0;  // kbbq only
};

// One entry of the registry.
struct TransformInfo {
  std::string name;
  std::string source;  // paper and equation
  bool takes_lambda;   // has the parameter `lambda` in [0, 2]
  std::unique_ptr<Transform> (*make)(const TransformSpec&);
};

// All transforms, in the order of the paper's tables.
const std::vector<TransformInfo>& transform_registry();

// Makes the transform of a spec. Throws std::invalid_argument, naming the valid
// names, when there is none of that name.
std::unique_ptr<Transform> make_transform(const TransformSpec& spec);

}  // namespace wush
