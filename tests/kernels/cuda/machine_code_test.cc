// The kernels for Blackwell have never been run; that their machine code holds
// the block-scaled instructions is what can be checked without the device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>  // popen is POSIX, not of <cstdio>

#include <array>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

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

struct Expected {
  const char* architecture;
  std::array<const char*, 2> mnemonics;  // of mxfp4 and of nvfp4
};

class CudaMachineCode : public ::testing::TestWithParam<Expected> {};

TEST_P(CudaMachineCode, HoldsTheBlockScaledInstructions) {
  int status = 0;
  output_of("cuobjdump --version", &status);
  if (status != 0) GTEST_SKIP() << "needs cuobjdump";
  // This program has the kernels linked in.
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  std::istringstream lines(output_of(
      "cuobjdump -sass -arch " + std::string(GetParam().architecture) + " '" +
          self + "' | grep -o 'UTCOMMA[^ ]*\\|OMMA[^ ]*'",
      &status));
  std::set<std::string> found;
  for (std::string line; std::getline(lines, line);) found.insert(line);
  for (const char* mnemonic : GetParam().mnemonics) {
    EXPECT_THAT(found, ::testing::Contains(mnemonic));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Blackwell, CudaMachineCode,
    ::testing::Values(Expected{"sm_100a", {"UTCOMMA", "UTCOMMA.4X"}},
                      Expected{"sm_120a",
                               {"OMMA.SF.16864.F32.E2M1.E2M1.E8",
                                "OMMA.SF.16864.F32.E2M1.E2M1.UE4M3.4X"}}),
    [](const auto& param) { return std::string(param.param.architecture); });

}  // namespace
}  // namespace wush
