// What can be checked of machine code without its device: that the kernels for
// Blackwell, which have never been run, hold the block-scaled instructions, and
// that Hopper's warpgroup instructions do not wait for each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>  // popen is POSIX, not of <cstdio>

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace wush {
namespace {

// Output of a shell command, with the toolkit's programs at the end of PATH;
// *status as pclose has it.
std::string output_of(const std::string& command, int* status) {
  FILE* pipe = popen(
      ("PATH=\"$PATH:" WUSH_CUDA_TOOLS "\" " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) {
    *status = -1;
    return "popen failed";
  }
  std::string text;
  std::array<char, 4096> buffer;
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    text += buffer.data();
  }
  *status = pclose(pipe);
  return text;
}

// The lines of what cuobjdump says of this program, which has the kernels
// linked in, through a shell's `filter`; nothing where there is no cuobjdump.
std::optional<std::vector<std::string>> dump(const std::string& options,
                                             const std::string& filter) {
  int status = 0;
  output_of("cuobjdump --version", &status);
  if (status != 0) return std::nullopt;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  std::istringstream text(output_of(
      "cuobjdump " + options + " '" + self + "' | " + filter, &status));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

struct Expected {
  const char* architecture;
  std::array<const char*, 2> mnemonics;  // of mxfp4 and of nvfp4
};

class CudaMachineCode : public ::testing::TestWithParam<Expected> {};

TEST_P(CudaMachineCode, HoldsTheBlockScaledInstructions) {
  const auto found = dump("-sass -arch " + std::string(GetParam().architecture),
                          "grep -o 'UTCOMMA[^ ]*\\|OMMA[^ ]*'");
  if (!found) GTEST_SKIP() << "needs cuobjdump";
  for (const char* mnemonic : GetParam().mnemonics) {
    EXPECT_THAT(*found, ::testing::Contains(mnemonic));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Blackwell, CudaMachineCode,
    ::testing::Values(Expected{"sm_100a", {"UTCOMMA", "UTCOMMA.4X"}},
                      Expected{"sm_120a",
                               {"OMMA.SF.16864.F32.E2M1.E2M1.E8",
                                "OMMA.SF.16864.F32.E2M1.E2M1.UE4M3.4X"}}),
    [](const auto& param) { return std::string(param.param.architecture); });

// ptxas makes every warpgroup instruction wait for the one before where it
// cannot keep track of their registers, and only remarks on it: mxfp4 with 16
// tokens lost 4 to 5 %. Then no wait leaves an instruction under way.
TEST(CudaMachineCodeHopper, WarpgroupInstructionsOverlap) {
  const auto lines = dump("-sass -arch sm_90a",
                          "grep -o 'Function : .*\\|DEPBAR.LE gsb0, 0x[0-9]'");
  if (!lines) GTEST_SKIP() << "needs cuobjdump";
  struct Waits {
    int for_all = 0, for_some = 0;
  };
  std::map<std::string, Waits> waits;
  std::string function;
  for (const std::string& line : *lines) {
    if (line.starts_with("Function")) {
      function = line;
    } else if (line.ends_with("0x0")) {
      ++waits[function].for_all;
    } else {
      ++waits[function].for_some;
    }
  }
  if (waits.empty()) GTEST_SKIP() << "has no machine code for sm_90a";
  for (const auto& [name, of] : waits) {
    EXPECT_GT(of.for_some, of.for_all) << name;
  }
}

// A few spilled registers, of the warp that copies alone, cost 2 to 4 %.
TEST(CudaMachineCodeHopper, FewTokensStayInRegisters) {
  const auto lines =
      dump("-res-usage -arch sm_90a", "grep -o 'Function .*\\|STACK:[0-9]*'");
  if (!lines) GTEST_SKIP() << "needs cuobjdump";
  std::string function;
  int kernels = 0;
  bool any = false;
  for (const std::string& line : *lines) {
    if (line.starts_with("Function")) {
      function = line;
      any = true;
    } else if (function.find("few_hopper_matmul_kernel") != function.npos) {
      EXPECT_EQ(line, "STACK:0") << function;
      ++kernels;
    }
  }
  if (!any) GTEST_SKIP() << "has no machine code for sm_90a";
  EXPECT_EQ(kernels, 9);  // formats by sizes of a tile of tokens
}

}  // namespace
}  // namespace wush
