#include "lib/results/plan_file.h"

#include <nlohmann/json.hpp>

#include "lib/results/record.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/support/json.h"

namespace wush {
namespace {

constexpr JsonLimits kLimits = {
    .max_bytes = std::uint64_t{64} << 20,
    .max_depth = 4,
    .max_values = std::uint32_t{1} << 20,
    .max_string_bytes = std::uint32_t{16} << 20,
    .max_total_string_bytes = std::uint32_t{64} << 20};

nlohmann::ordered_json plan_json(const Plan& plan) {
  return {{"schema", "wush-plan"},   {"schema_version", kResultsSchemaVersion},
          {"name", plan.name},       {"config", plan.config},
          {"digests", plan.digests}, {"keys", plan.keys}};
}

}  // namespace

std::string plan_text(const Plan& plan) {
  nlohmann::ordered_json json = plan_json(plan);
  json["sha256"] = sha256_hex(json.dump());
  return json.dump(2) + "\n";
}

Plan read_plan(const std::filesystem::path& path) {
  const JsonDocument document = JsonDocument::read(path, kLimits);
  const JsonValue root = document.root();
  if (root.at("schema").string() != "wush-plan") {
    root.at("schema").fail("\"wush-plan\"");
  }
  const JsonValue version = root.at("schema_version");
  if (version.integer() != kResultsSchemaVersion) {
    throw SchemaVersionError(
        version.where(), fmt::format("expected schema version {}, found {}",
                                     kResultsSchemaVersion, version.integer()));
  }
  Plan plan;
  plan.name = root.at("name").string();
  plan.config = root.at("config").string();
  for (const auto& [name, value] : root.at("digests").members()) {
    plan.digests[std::string(name)] = value.string();
  }
  for (const JsonValue& key : root.at("keys").elements()) {
    plan.keys.emplace_back(key.string());
  }
  const std::string digest = sha256_hex(plan_json(plan).dump());
  if (root.at("sha256").string() != digest) {
    root.at("sha256").fail(fmt::format("the digest {} of this plan", digest));
  }
  return plan;
}

}  // namespace wush
