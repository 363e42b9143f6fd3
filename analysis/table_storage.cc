// Table 7: bits per weight and the stored transforms' share of the checkpoint,
// exact from the architecture.
#include <fmt/format.h>

#include "analysis/published.h"
#include "analysis/tables.h"
#include "lib/checkpoint/config.h"
#include "lib/metrics/storage.h"
#include "lib/support/error.h"

namespace wush {
namespace {

constexpr NumberStyle kBitsStyle{NumberStyle::Kind::kFixed, 3, 1};
constexpr NumberStyle kGigabytesStyle{NumberStyle::Kind::kSignificant, 4, 1e-9};
constexpr NumberStyle kMegabytesStyle{NumberStyle::Kind::kSignificant, 4, 1e-6};
// One decimal, as the paper prints them.
constexpr NumberStyle kPercentStyle{NumberStyle::Kind::kFixed, 1, 1};

std::vector<Column> columns() {
  return {{"model", "model", Column::Align::kLeft},
          {"format", "format", Column::Align::kLeft},
          {"bits_per_weight", "bits per weight"},
          {"bits_per_weight_with_transforms", "with transforms"},
          {"checkpoint_bytes", "checkpoint, GB"},
          {"transform_bytes", "transforms, MB"},
          {"transform_percent", "transforms, %"},
          {"published_percent", "published, %"}};
}

Row make_row(const std::string& model, const numerics::BlockFormat& format,
             const CheckpointStorage& storage,
             const std::optional<double>& published) {
  Row row{{model, std::string(format.name)}, model, false};
  const auto add = [&row](double value, const NumberStyle& style) {
    row.values.emplace_back(Number{value, std::nullopt, style});
  };
  add(storage.bits_per_weight(), kBitsStyle);
  add(storage.bits_per_weight_with_transforms(), kBitsStyle);
  add(static_cast<double>(storage.checkpoint_bytes()), kGigabytesStyle);
  add(static_cast<double>(storage.transform_bytes), kMegabytesStyle);
  add(storage.transform_percent(), kPercentStyle);
  row.values.push_back(
      published ? Value{Number{*published, std::nullopt, kPercentStyle}}
                : Value{});
  return row;
}

void add_model(const PublishedStorage& model, Section& section, Table& table) {
  for (const auto format : {numerics::Format::kMxfp4, numerics::Format::kNvfp4,
                            numerics::Format::kInt4}) {
    std::optional<double> published;
    if (format == numerics::Format::kMxfp4) published = model.mxfp4_percent;
    if (format == numerics::Format::kNvfp4) published = model.nvfp4_percent;
    const numerics::BlockFormat& description = numerics::describe(format);
    try {
      section.rows.push_back(
          make_row(model.model, description,
                   checkpoint_storage(model.config, format, StorageOptions{}),
                   published));
    } catch (const InputError& error) {
      table.missing.push_back(fmt::format("{} in {}: {}.", model.model,
                                          description.name, error.what()));
    }
  }
}

// A config.json or the folder that holds one, named after the folder.
PublishedStorage read_model(const std::filesystem::path& input) {
  if (input.extension() == ".h5") {
    throw InputError(input.string(),
                     "table storage follows from an architecture alone: "
                     "expected a config.json or its folder, found results");
  }
  const bool is_folder = std::filesystem::is_directory(input);
  const std::filesystem::path file = is_folder ? input / "config.json" : input;
  const std::filesystem::path folder =
      std::filesystem::absolute(file).lexically_normal().parent_path();
  return {folder.filename().string(), read_config(file), std::nullopt,
          std::nullopt};
}

}  // namespace

Table make_storage_table(const AnalysisRequest& request) {
  Table table{"storage",
              "Storage: bits per weight and the transforms' share of the "
              "checkpoint",
              columns(),
              {},
              {},
              {}};
  Section own{"storage", "", "results", {}};
  for (const std::filesystem::path& input : request.inputs) {
    add_model(read_model(input), own, table);
  }
  if (request.inputs.empty() || request.published) {
    for (const PublishedStorage& model : published_storage()) {
      add_model(model, own, table);
    }
    table.notes.push_back(
        "Column \"published\": " + published_storage_source() + ".");
  }
  table.sections.push_back(std::move(own));
  table.notes.push_back(
      "Exact from the architecture: the seven linears of every decoder block "
      "quantized; embeddings, lm_head, norms and biases in 16 bits; one "
      "transform in bfloat16 for every block of every linear. The percentage "
      "is "
      "of the checkpoint without transforms.");
  return table;
}

}  // namespace wush
