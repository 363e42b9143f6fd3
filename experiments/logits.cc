// wush logits: for comparing the forward pass with other engines.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "experiments/commands.h"
#include "lib/checkpoint/checkpoint.h"
#include "lib/device/device.h"
#include "lib/model/ends.h"
#include "lib/support/json.h"

namespace wush {
namespace {

struct LogitsOptions {
  std::string checkpoint;
  std::string ids;
  std::string device = "cpu";
  int threads = 0;
};

Windows read_ids(const std::string& path, const ModelConfig& config) {
  const JsonDocument document = JsonDocument::read(path);
  Windows rows;
  for (const JsonValue& row : document.root().elements()) {
    std::vector<std::int32_t> ids;
    for (const JsonValue& id : row.elements()) {
      ids.push_back(
          static_cast<std::int32_t>(id.integer_in(0, config.vocab_size - 1)));
    }
    if (ids.empty()) row.fail("an array with at least one token");
    rows.push_back(std::move(ids));
  }
  if (rows.empty()) document.root().fail("an array with at least one row");
  return rows;
}

// Rows of one length go through the model together.
std::vector<std::vector<float>> logits_of(Device& device,
                                          const Checkpoint& checkpoint,
                                          const Windows& rows) {
  std::map<std::size_t, std::vector<std::size_t>> by_length;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    by_length[rows[i].size()].push_back(i);
  }
  std::vector<std::vector<float>> logits(rows.size());
  for (const auto& [length, positions] : by_length) {
    Windows windows;
    for (const std::size_t i : positions) windows.push_back(rows[i]);
    std::vector<std::vector<float>> found =
        last_logits(device, checkpoint, windows);
    for (std::size_t i = 0; i < positions.size(); ++i) {
      logits[positions[i]] = std::move(found[i]);
    }
  }
  return logits;
}

ExitCode logits(const LogitsOptions& options) {
  const std::unique_ptr<Device> device =
      make_device(options.device, options.threads);
  const Checkpoint checkpoint = Checkpoint::open(options.checkpoint);
  const Windows rows = read_ids(options.ids, checkpoint.config());
  const char* separator = "[";
  for (const auto& row : logits_of(*device, checkpoint, rows)) {
    fmt::print("{}[{}]", separator, fmt::join(row, ", "));
    separator = ",\n ";
  }
  fmt::print("]\n");
  return ExitCode::kDone;
}

}  // namespace

void add_logits(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "logits", "Logits of the last position for each row of token ids");
  const auto options = std::make_shared<LogitsOptions>();
  command
      ->add_option("checkpoint", options->checkpoint,
                   "A Hugging Face checkpoint directory")
      ->required()
      ->type_name("CHECKPOINT");
  command
      ->add_option("--ids", options->ids,
                   "JSON: an array of arrays of token ids")
      ->required()
      ->type_name("FILE.json");
  command->add_option("--device", options->device, "cpu or cuda:N")
      ->type_name("NAME")
      ->capture_default_str();
  command
      ->add_option("--threads", options->threads, "Threads on the CPU; 0: all")
      ->check(CLI::Range(0, 4096))
      ->type_name("N")
      ->capture_default_str();
  command->footer(
      "Example:\n  echo '[[0, 41, 4040]]' > ids.json\n"
      "  wush logits experiments/demo/model --ids ids.json");
  command->callback(
      [options, &action] { action = [options] { return logits(*options); }; });
}

}  // namespace wush
