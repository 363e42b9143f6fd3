#include "experiments/provenance.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>
#include <string>

namespace wush {

Provenance make_provenance() {
  utsname system{};
  uname(&system);
  return {
      {"program", std::string("wush ") + WUSH_VERSION},
      {"compiler", WUSH_COMPILER},
      {"host", system.nodename},
      {"system",
       fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
      {"started",
       fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
  };
}

Provenance make_provenance(const std::string& device,
                           const std::string& description, int threads,
                           const SweepInputs& inputs) {
  Provenance provenance = make_provenance();
  provenance["device"] = device;
  provenance["device description"] = description;
  provenance["threads"] = threads == 0 ? "all" : std::to_string(threads);
  for (const auto& [name, digest] : inputs.digests) {
    provenance["sha256 " + name] = digest;
  }
  for (const auto& [role, note] : inputs.notes) {
    provenance["note " + role] = note;
  }
  return provenance;
}

}  // namespace wush
