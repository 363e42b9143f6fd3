// The closed form behind wus, wush and kbbq.
#pragma once

#include "lib/transform/transform.h"

namespace wush {

// S^(-lambda/2) U^T W'^T of one block from damped moments, where W' W'^T = M
// (Cholesky), X' X'^T = Sigma and W'^T X' = U S V^T (WUSH, eq. 7; KBBQ, eq.
// 15). No singular value decomposition is taken: U and S^2 are the eigenvectors
// and eigenvalues of W'^T Sigma W'. Singular values descend.
//
// The signs of the singular vectors are free, and behind a Hadamard matrix they
// matter: over seven choices of signs the nvfp4 loss of one k_proj of a small
// trained model ranged from 0.86 to 1.13 times that of a reference, while the
// other linears moved by 1 to 3 %. Here every row of the result has a positive
// sum, so that it does not depend on the eigensolver's choice.
//
// Throws NumericalError when a moment is not positive definite.
BlockMatrix whitening_factor(const BlockMoments& damped, double lambda);

}  // namespace wush
