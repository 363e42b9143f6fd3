// The makers that registry.cc lists, one a file.
#pragma once

#include <memory>

#include "lib/transform/transform.h"

namespace wush {

std::unique_ptr<Transform> make_identity(const TransformSpec& spec);
std::unique_ptr<Transform> make_random(const TransformSpec& spec);
std::unique_ptr<Transform> make_hadamard(const TransformSpec& spec);
std::unique_ptr<Transform> make_wus(const TransformSpec& spec);
std::unique_ptr<Transform> make_wush(const TransformSpec& spec);
std::unique_ptr<Transform> make_kbbq(const TransformSpec& spec);

}  // namespace wush
