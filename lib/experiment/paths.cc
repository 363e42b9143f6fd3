#include "lib/experiment/paths.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "lib/experiment/yaml_values.h"
#include "lib/support/error.h"

namespace wush {
namespace {

std::string variable(const YamlNode& node, const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) {
    throw InputError(node.place.to_string(),
                     fmt::format("expected a defined environment variable, "
                                 "found '{}', which is not defined",
                                 name));
  }
  return value;
}

std::string expand(const YamlNode& node) {
  const std::string& written = node.text;
  std::string expanded;
  std::size_t at = 0;
  if (written == "~" || written.starts_with("~/")) {
    expanded = variable(node, "HOME");
    at = 1;
  }
  while (at < written.size()) {
    const std::size_t start = written.find("${", at);
    if (start == std::string::npos) break;
    const std::size_t end = written.find('}', start);
    if (end == std::string::npos) fail_at(node, "a '}' after '${'");
    expanded += written.substr(at, start - at);
    expanded += variable(node, written.substr(start + 2, end - start - 2));
    at = end + 1;
  }
  return expanded + written.substr(at);
}

}  // namespace

InputPath resolve_path(const YamlNode& node, const std::string& folder) {
  namespace fs = std::filesystem;
  const std::string& written = read_string(node);
  const fs::path expanded = expand(node);
  std::error_code status;
  const fs::path beside = (fs::path(folder) / expanded).lexically_normal();
  if (fs::exists(beside, status)) return {written, beside.string()};
  if (expanded.is_absolute()) {
    fail_at(node, "a path that exists");
  }
  if (fs::exists(expanded, status)) {
    return {written, expanded.lexically_normal().string()};
  }
  fail_at(node, fmt::format("a path that exists from '{}' or from the working "
                            "directory",
                            folder.empty() ? "." : folder));
}

}  // namespace wush
