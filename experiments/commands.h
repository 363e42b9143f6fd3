// The subcommands of the program, one file each.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "lib/support/error.h"

namespace wush {

// What the command line asks for; throws wush::Error.
using Action = std::function<ExitCode()>;

// Each adds its subcommand and sets `action` when it is the one that was given.
void add_run(CLI::App& program, Action& action);
void add_plan(CLI::App& program, Action& action);
void add_merge(CLI::App& program, Action& action);
void add_cells(CLI::App& program, Action& action);
void add_table(CLI::App& program, Action& action);
void add_figure(CLI::App& program, Action& action);
void add_report(CLI::App& program, Action& action);
void add_inspect(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
void add_logits(CLI::App& program, Action& action);

}  // namespace wush
