// The closed form behind wus, wush and kbbq.
#pragma once

#include "lib/transform/transform.h"

namespace wush {

// S^(-lambda/2) U^T W'^T of one block from damped moments, where W' W'^T = M
// (Cholesky), X' X'^T = Sigma and W'^T X' = U S V^T (WUSH, eq. 7; KBBQ, eq.
// 15). No singular value decomposition is taken: U and S^2 are the eigenvectors
// and eigenvalues of W'^T Sigma W'. Singular values descend; the
// largest-magnitude entry of each column of U is positive, so that the result
// does not depend on the eigensolver's choice of signs. Throws NumericalError
// when a moment is not positive definite.
BlockMatrix whitening_factor(const BlockMoments& damped, double lambda);

}  // namespace wush
