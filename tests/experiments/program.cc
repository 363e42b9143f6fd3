#include "tests/experiments/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "tests/child_process.h"
#include "tests/temporary_folder.h"

namespace wush::testing {
namespace {

const std::filesystem::path kDemo =
    std::filesystem::path(WUSH_SOURCE_DIR) / "experiments" / "demo";

pid_t start(const Arguments& arguments, const std::string& out,
            const std::string& err) {
  std::vector<char*> argv = {const_cast<char*>(WUSH_PROGRAM)};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  const auto redirect = [](const std::string& path, int descriptor) {
    ::dup2(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600),
           descriptor);
  };
  redirect(out, STDOUT_FILENO);
  redirect(err, STDERR_FILENO);
  ::execv(WUSH_PROGRAM, argv.data());
  ::_exit(127);
}

}  // namespace

Outcome run_program(const Arguments& arguments) {
  const TemporaryFolder folder;
  const std::string out = (folder / "out").string();
  const std::string err = (folder / "err").string();
  Outcome outcome;
  outcome.code = wait_for_child(start(arguments, out, err));
  outcome.out = read_text_file(out);
  outcome.err = read_text_file(err);
  return outcome;
}

pid_t start_program(const Arguments& arguments) {
  return start(arguments, "/dev/null", "/dev/null");
}

std::string write_tiny_sweep(const std::filesystem::path& folder) {
  const std::string path = (folder / "tiny.yaml").string();
  const std::string demo = kDemo.string();
  write_text_file(
      path, fmt::format("name: tiny\n"
                        "models: [{{name: nano, path: {0}/model}}]\n"
                        "calibration: {{text: {0}/corpus/calibration.txt, "
                        "sequences: 2, length: 64}}\n"
                        "evaluation: {{text: {0}/corpus/evaluation.txt, "
                        "length: 64, windows: 4}}\n"
                        "sweep: {{format: [mxfp4, nvfp4], transform: "
                        "[random, wush], method: [rtn, gptq]}}\n"
                        "measure: {{layer_loss: {{layers: [1], windows: 2}}, "
                        "perplexity: {{}}, kl: {{}}}}\n",
                        demo));
  return path;
}

std::string read_text_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_text_file(const std::filesystem::path& path,
                     const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void copy_demo_model(const std::filesystem::path& folder) {
  std::filesystem::copy(kDemo / "model", folder);
}

}  // namespace wush::testing
