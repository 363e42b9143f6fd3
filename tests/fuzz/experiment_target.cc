// Experiment files. What is accepted as YAML has a canonical text that reads as
// itself.
#include "lib/experiment/config.h"
#include "lib/experiment/yaml_document.h"
#include "tests/fuzz/fuzz_target.h"

namespace wush {
namespace {

void check(std::string_view text) {
  const YamlNode root = parse_yaml(text, "x.yaml");
  const std::string canonical = format_yaml(root);
  if (canonical.size() <= kMaxYamlBytes) {
    const std::string again = format_yaml(parse_yaml(canonical, "canonical"));
    WUSH_CHECK(again == canonical, "\"{}\" became \"{}\"", canonical, again);
  }
  const ExperimentConfig config = parse_experiment(root, "x.yaml");
  const std::string resolved = resolved_yaml(config);
  WUSH_CHECK(resolved_yaml(parse_experiment(parse_yaml(resolved, "resolved"),
                                            "x.yaml")) == resolved,
             "the resolved text changes when it is read: {}", resolved);
}

}  // namespace
}  // namespace wush

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  wush::testing::parse_or_refuse(
      [&] { wush::check(wush::testing::as_text(data, size)); });
  return 0;
}
