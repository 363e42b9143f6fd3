#include <fmt/format.h>

#include <stdexcept>

#include "lib/transform/entries.h"

namespace wush {

const std::vector<TransformInfo>& transform_registry() {
  static const std::vector<TransformInfo> kRegistry = {
      {"identity", "no transform", false, make_identity},
      {"random", "Haar-uniform orthogonal blocks", false, make_random},
      {"hadamard", "MR-GPTQ, Egiazarian et al. 2026", false, make_hadamard},
      {"wus", "WUSH, arXiv 2512.00956, eq. 7 without H", false, make_wus},
      {"wush", "WUSH, arXiv 2512.00956, eq. 7 and algorithm 1", false,
       make_wush},
      {"kbbq", "KBBQ, eq. 15", true, make_kbbq},
  };
  return kRegistry;
}

std::unique_ptr<Transform> make_transform(const TransformSpec& spec) {
  std::string names;
  for (const TransformInfo& info : transform_registry()) {
    if (info.name == spec.name) return info.make(spec);
    names += (names.empty() ? "" : ", ") + info.name;
  }
  throw std::invalid_argument(
      fmt::format("expected a transform ({}), found \"{}\"", names, spec.name));
}

}  // namespace wush
