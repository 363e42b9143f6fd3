// The program: wush SUBCOMMAND ...

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "experiments/commands.h"
#include "lib/pipeline/progress.h"
#include "lib/support/end_process.h"
#include "lib/support/error.h"
#include "lib/support/interrupt.h"

namespace wush {
namespace {

constexpr int kInternalError = 70;  // a fault of the program itself
constexpr int kSignalBase = 128;

int fail(int code, const std::string& message) {
  fmt::print(stderr, "wush: {}\n", message);
  return code;
}

// Where every way to end becomes an exit code.
int guarded(const Action& action) {
  try {
    const ExitCode code = action();
    if (std::fflush(stdout) != 0) {
      throw StorageError("standard output: cannot be written");
    }
    return static_cast<int>(code);
  } catch (const Interrupted&) {
    return fail(kSignalBase + interrupt_signal(),
                "interrupted; run the same command again to go on");
  } catch (const Error& error) {
    return fail(static_cast<int>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(static_cast<int>(ExitCode::kOutOfMemory),
                "out of memory; finished cells are kept");
  } catch (const std::exception& error) {
    return fail(kInternalError, std::string("internal error: ") + error.what());
  }
}

std::string list_subcommands(const CLI::App& program) {
  std::string names;
  for (const CLI::App* command : program.get_subcommands({})) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

bool has_subcommand(const CLI::App& program, const std::string& name) {
  const auto commands = program.get_subcommands({});
  return std::any_of(
      commands.begin(), commands.end(),
      [&](const CLI::App* command) { return command->get_name() == name; });
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

int run_program(int argc, char** argv) {
  CLI::App program(
      "Research harness for low-bit LLM inference with block transforms.",
      "wush");
  program.set_version_flag("--version", std::string("wush ") + WUSH_VERSION);
  program.require_subcommand(1);
  program.footer(
      "Exit codes: 0 done, 1 a cell failed, 2 wrong input, 3 storage failed, "
      "4 another run holds these results, 5 out of memory, 6 no such device, "
      "128+n ended by signal n.\n\n"
      "Example:\n  wush run configs/demo.yaml && wush table perplexity "
      "results/demo.h5");
  Action action;
  for (const auto add :
       {add_run, add_plan, add_merge, add_cells, add_table, add_figure,
        add_report, add_inspect, add_tokenize, add_logits}) {
    add(program, action);
  }
  if (argc > 1 && argv[1][0] != '-' && !has_subcommand(program, argv[1])) {
    return fail(static_cast<int>(ExitCode::kInput),
                fmt::format("expected one of {}, found '{}'",
                            list_subcommands(program), argv[1]));
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);  // --help
    return fail(static_cast<int>(ExitCode::kInput),
                first_line(error.what()) + " (see wush --help)");
  }
  const int code = guarded(action);
  if (code == static_cast<int>(ExitCode::kOutOfMemory)) {
    // OpenBLAS waits at the end for its threads, which try for ever to get the
    // memory that there is not.
    end_process(code);
  }
  return code;
}

}  // namespace
}  // namespace wush

int main(int argc, char** argv) { return wush::run_program(argc, argv); }
