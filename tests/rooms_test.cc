// The one direction in which rooms see each other:
//   kernels <- lib <- analysis, experiments
// Reads the includes of every source and fails when a room uses one it may not.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace wush {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Include {
  int line;
  std::string path;
};

// What is included with quotes or angle brackets.
std::vector<Include> includes_of(const std::string& text) {
  std::vector<Include> includes;
  std::istringstream stream(text);
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') continue;
    const std::size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) {
      continue;
    }
    const std::size_t begin = line.find_first_of("\"<", word);
    if (begin == std::string::npos) continue;
    const std::size_t end =
        line.find(line[begin] == '<' ? '>' : '"', begin + 1);
    includes.push_back({number, line.substr(begin + 1, end - begin - 1)});
  }
  return includes;
}

// The part of a path before its n-th slash ("lib/text/x.h", 2 -> "lib/text").
std::string folder(const std::string& path, int depth) {
  std::size_t at = 0;
  for (int i = 0; i < depth; ++i) {
    at = path.find('/', at + (i == 0 ? 0 : 1));
    if (at == std::string::npos) return path;
  }
  return path.substr(0, at);
}

bool begins_with_any(const std::string& text,
                     const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& b) { return text.starts_with(b); });
}

// Rooms that a room may include from, itself among them.
std::vector<std::string> visible_rooms(const std::string& room) {
  if (room == "kernels") return {"kernels"};
  if (room == "lib") return {"kernels", "lib"};
  // Analysis reads results, and the configuration that is stored with them. The
  // storage table is made from a model's config alone.
  if (room == "analysis") {
    return {"analysis",
            "lib/results",
            "lib/support",
            "lib/experiment",
            "lib/metrics/",
            "lib/checkpoint/config.h",
            "lib/checkpoint/architectures.h",
            "kernels/numerics"};
  }
  return {"kernels", "lib", "analysis", "experiments"};
}

// Libraries that only some folders may use.
struct Restricted {
  std::vector<std::string> headers;  // beginnings of their paths
  std::vector<std::string> folders;  // where they are allowed
};

const std::vector<Restricted>& restricted() {
  static const std::vector<Restricted> list = {
      {{"hdf5", "H5"}, {"lib/results"}},
      {{"yaml-cpp"}, {"lib/experiment", "analysis"}},
      {{"CLI/"}, {"experiments"}},
      {{"oniguruma", "utf8proc"}, {"lib/text"}},
      {{"openssl"}, {"lib/support"}},
      {{"cblas", "lapacke"}, {"lib/device/cpu", "lib/bench"}},
      {{"cuda", "cublas", "cusolver"}, {"lib/throughput/cuda_", "kernels/"}},
      {{"Eigen", "nlohmann", "fmt/"}, {"lib", "analysis", "experiments"}},
  };
  return list;
}

// Modules of lib in the order in which they may use each other.
std::vector<std::string> read_modules(const std::string& cmake) {
  const std::string start = "foreach(module ";
  const std::size_t begin = cmake.find(start) + start.size();
  std::istringstream names(cmake.substr(begin, cmake.find(')', begin) - begin));
  return {std::istream_iterator<std::string>(names), {}};
}

// Benchmarks compare with what the rooms must not use.
bool is_benchmark(const std::string& path) {
  return path.starts_with("kernels/bench/");
}

std::vector<std::string> violations(const std::string& path,
                                    const std::string& text,
                                    const std::vector<std::string>& modules) {
  std::vector<std::string> found;
  const std::string room = folder(path, 1);
  const auto module_index = [&](const std::string& p) {
    const std::string name = folder(p, 2).substr(4);
    return std::find(modules.begin(), modules.end(), name) - modules.begin();
  };
  for (const Include& include : includes_of(text)) {
    const std::string& target = include.path;
    const auto report = [&](const std::string& why) {
      found.push_back(fmt::format("{}:{}: includes {}: {}", path, include.line,
                                  target, why));
    };
    const bool is_ours = begins_with_any(
        target, {"kernels/", "lib/", "analysis/", "experiments/", "tests/"});
    if (is_ours && !begins_with_any(target, visible_rooms(room))) {
      report("not visible from " + room);
    } else if (room == "lib" && target.starts_with("lib/") &&
               module_index(target) > module_index(path)) {
      report("a later module of lib");
    }
    for (const Restricted& r : restricted()) {
      if (!is_ours && begins_with_any(target, r.headers) &&
          !begins_with_any(path, r.folders) && !is_benchmark(path)) {
        report("allowed in " + fmt::format("{}", fmt::join(r.folders, ", ")));
      }
    }
  }
  return found;
}

std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<fs::path> sources_of(const fs::path& room) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(room)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".h" || extension == ".cc" || extension == ".cu" ||
        extension == ".cuh") {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

const fs::path kRoot = WUSH_SOURCE_DIR;

TEST(Rooms, EveryIncludeIsAllowed) {
  const auto modules = read_modules(read_file(kRoot / "lib/CMakeLists.txt"));
  ASSERT_GE(modules.size(), 10u);
  std::size_t sources = 0;
  for (const std::string room : {"kernels", "lib", "analysis", "experiments"}) {
    for (const fs::path& path : sources_of(kRoot / room)) {
      ++sources;
      const std::string relative = path.lexically_relative(kRoot).string();
      for (const std::string& line :
           violations(relative, read_file(path), modules)) {
        ADD_FAILURE() << line;
      }
    }
  }
  EXPECT_GE(sources, 100u);
}

TEST(Rooms, EveryModuleOfLibIsInTheOrder) {
  const auto modules = read_modules(read_file(kRoot / "lib/CMakeLists.txt"));
  for (const auto& entry : fs::directory_iterator(kRoot / "lib")) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory() || name == "bench") continue;
    EXPECT_THAT(modules, ::testing::Contains(name));
  }
}

// The check itself has to be able to fail.
struct Planted {
  const char* name;
  std::string path;
  std::string include;
  bool allowed;
};

std::ostream& operator<<(std::ostream& out, const Planted& planted) {
  return out << planted.name;
}

class RoomsPlanted : public ::testing::TestWithParam<Planted> {};

TEST_P(RoomsPlanted, IsFound) {
  const Planted& planted = GetParam();
  const auto found =
      violations(planted.path, "// x\n#include " + planted.include + "\n",
                 {"support", "text", "device", "results", "experiment"});
  if (planted.allowed) {
    EXPECT_THAT(found, IsEmpty());
  } else {
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_THAT(found[0], HasSubstr(planted.path + ":2: includes "));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RoomsPlanted,
    ::testing::Values(
        Planted{"KernelsSeeLib", "kernels/cpu/a.cc", "\"lib/support/error.h\"",
                false},
        Planted{"KernelsSeeEigen", "kernels/cpu/a.cc", "<Eigen/Core>", false},
        Planted{"KernelsSeeHdf5", "kernels/cpu/a.cc", "<hdf5.h>", false},
        Planted{"KernelsSeeYaml", "kernels/cpu/a.h", "<yaml-cpp/yaml.h>",
                false},
        Planted{"KernelsSeeKernels", "kernels/cpu/a.cc",
                "\"kernels/numerics/e2m1.h\"", true},
        Planted{"KernelsSeeCuda", "kernels/cuda/a.cu", "<cuda_runtime.h>",
                true},
        Planted{"LibSeesAnalysis", "lib/text/a.cc", "\"analysis/table.h\"",
                false},
        Planted{"LibSeesExperiments", "lib/text/a.cc",
                "\"experiments/commands.h\"", false},
        Planted{"LibSeesTests", "lib/text/a.cc", "\"tests/shared_data.h\"",
                false},
        Planted{"LibSeesLaterModule", "lib/text/a.h", "\"lib/device/device.h\"",
                false},
        Planted{"LibSeesEarlierModule", "lib/device/a.h",
                "\"lib/support/error.h\"", true},
        Planted{"LibSeesItself", "lib/device/a.h", "\"lib/device/matrix.h\"",
                true},
        Planted{"DeviceSeesHdf5", "lib/device/a.cc", "<H5Fpublic.h>", false},
        Planted{"ResultsSeeHdf5", "lib/results/a.cc", "<hdf5.h>", true},
        Planted{"TextSeesYaml", "lib/text/a.cc", "<yaml-cpp/parser.h>", false},
        Planted{"TextSeesCuda", "lib/text/a.cc", "<cuda_runtime.h>", false},
        Planted{"AnalysisSeesDevice", "analysis/a.cc",
                "\"lib/device/device.h\"", false},
        Planted{"AnalysisSeesCheckpoint", "analysis/a.cc",
                "\"lib/checkpoint/checkpoint.h\"", false},
        Planted{"AnalysisSeesExperiments", "analysis/a.cc",
                "\"experiments/commands.h\"", false},
        Planted{"AnalysisSeesResults", "analysis/a.cc",
                "\"lib/results/reader.h\"", true},
        Planted{"ExperimentsSeeAnalysis", "experiments/a.cc",
                "\"analysis/registry.h\"", true},
        Planted{"ExperimentsSeeTests", "experiments/a.cc",
                "\"tests/shared_data.h\"", false},
        Planted{"SpacedInclude", "lib/text/a.cc", " <hdf5.h>", false}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace wush
