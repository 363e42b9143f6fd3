#include "tests/experiments/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/temporary_folder.h"

namespace wush::testing {
namespace {

const std::filesystem::path kDemo =
    std::filesystem::path(WUSH_SOURCE_DIR) / "experiments" / "demo";

pid_t start(const Arguments& arguments, const Surroundings& surroundings,
            const std::string& out, const std::string& err) {
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
  for (const auto& [name, value] : surroundings.environment) {
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  if (surroundings.address_space > 0) {
    const rlimit limit = {surroundings.address_space,
                          surroundings.address_space};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  ::execv(WUSH_PROGRAM, argv.data());
  ::_exit(127);
}

}  // namespace

Outcome run_program(const Arguments& arguments,
                    const Surroundings& surroundings) {
  const TemporaryFolder folder;
  const std::string out = (folder / "out").string();
  const std::string err = (folder / "err").string();
  Outcome outcome;
  const pid_t child = start(arguments, surroundings, out, err);
  int status = 0;
  rusage usage{};
  while (::wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  outcome.peak_memory = std::int64_t{1024} * usage.ru_maxrss;
  outcome.out = read_text_file(out);
  outcome.err = read_text_file(err);
  return outcome;
}

pid_t start_program(const Arguments& arguments,
                    const std::filesystem::path& err) {
  return start(arguments, {}, "/dev/null", err.string());
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
