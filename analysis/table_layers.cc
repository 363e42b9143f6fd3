// Table 1: mean squared error of each linear's quantized output.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include "analysis/cells.h"
#include "analysis/published.h"
#include "analysis/tables.h"

namespace wush {
namespace {

// Errors are printed like the paper's, in thousandths.
constexpr NumberStyle kMseStyle{NumberStyle::Kind::kSignificant, 3, 1e3};
constexpr NumberStyle kRatioStyle{NumberStyle::Kind::kFixed, 3, 1};
constexpr NumberStyle kDecibelStyle{NumberStyle::Kind::kFixed, 2, 1};

constexpr std::array<std::string_view, 7> kPaperOrder = {
    "q_proj",    "k_proj",  "v_proj",   "o_proj",
    "gate_proj", "up_proj", "down_proj"};

// The linears that were measured: those of the paper in its order, then others.
std::vector<std::string> linear_names(const std::vector<StoredCell>& cells) {
  std::set<std::string> found;
  for (const StoredCell& cell : cells) {
    for (const LayerLoss& loss : cell.result.layer_loss) {
      found.insert(loss.linear);
    }
  }
  std::vector<std::string> names;
  for (const std::string_view name : kPaperOrder) {
    if (found.empty() || found.erase(std::string(name)) > 0) {
      names.emplace_back(name);
    }
  }
  names.insert(names.end(), found.begin(), found.end());
  return names;
}

const LayerLoss* find_loss(const StoredCell* cell, int layer,
                           const std::string& linear) {
  if (cell == nullptr) return nullptr;
  for (const LayerLoss& loss : cell->result.layer_loss) {
    if (loss.layer == layer && loss.linear == linear) return &loss;
  }
  return nullptr;
}

Number mse_number(const LayerLoss& loss) {
  Number number{loss.mse, std::nullopt, kMseStyle};
  if (loss.repeats.size() > 1) {
    number.standard_error = estimate(loss.repeats).standard_error;
  }
  return number;
}

// What a section shows of one loss, given that of the identity.
using Quantity = Value (*)(const LayerLoss& loss, const LayerLoss* identity);

Value show_mse(const LayerLoss& loss, const LayerLoss*) {
  return mse_number(loss);
}

Value show_ratio(const LayerLoss& loss, const LayerLoss* identity) {
  if (identity == nullptr || identity->mse == 0) return {};
  return Number{loss.mse / identity->mse, std::nullopt, kRatioStyle};
}

Value show_decibels(const LayerLoss& loss, const LayerLoss*) {
  if (loss.mse <= 0 || loss.signal <= 0) return {};
  return Number{10 * std::log10(loss.mse / loss.signal), std::nullopt,
                kDecibelStyle};
}

class LayersTable {
 public:
  explicit LayersTable(const std::vector<StoredCell>& cells)
      : cells_(cells), parameters_(cells), linears_(linear_names(cells)) {}

  std::vector<Column> columns() const {
    std::vector<Column> columns = parameters_.columns();
    columns.push_back({"layer", "layer"});
    for (const std::string& linear : linears_) {
      columns.push_back(
          {linear, linear, Column::Align::kRight, Column::Best::kLowest, true});
    }
    return columns;
  }

  Section section(const std::string& key, const std::string& title,
                  Quantity quantity) const {
    Section section{key, title, "results", {}};
    for (const StoredCell& cell : cells_) {
      for (const int layer : layers(cell)) {
        section.rows.push_back(row(cell, layer, quantity));
      }
    }
    return section;
  }

  // One row of published errors, or of their ratios to `identity`.
  Row published_row(const PublishedRow& published, const PublishedTable& table,
                    const PublishedRow* identity) const {
    Row row{parameters_.values(published.model, published.format,
                               published.transform, published.method),
            published.format};
    row.values.emplace_back();  // layer: named in the source
    for (const std::string& linear : linears_) {
      const auto column =
          std::find(table.columns.begin(), table.columns.end(), linear);
      if (column == table.columns.end()) {
        row.values.emplace_back();
        continue;
      }
      const auto index =
          static_cast<std::size_t>(column - table.columns.begin());
      const double mse = *published.values[index];
      row.values.emplace_back(identity == nullptr
                                  ? Number{mse, std::nullopt, kMseStyle}
                                  : Number{mse / *identity->values[index],
                                           std::nullopt, kRatioStyle});
    }
    return row;
  }

  const std::vector<std::string>& options() const {
    return parameters_.options();
  }

 private:
  static std::set<int> layers(const StoredCell& cell) {
    std::set<int> layers;
    for (const LayerLoss& loss : cell.result.layer_loss) {
      layers.insert(loss.layer);
    }
    return layers;
  }

  Row row(const StoredCell& cell, int layer, Quantity quantity) const {
    const CellParameters& parameters = cell.result.parameters;
    const StoredCell* identity =
        parameters.transform == "identity"
            ? &cell
            : Baseline("transform=identity").find(cells_, cell);
    Row row{
        parameters_.values(parameters),
        fmt::format("{} {} {}", parameters.model, layer, parameters.format)};
    row.values.emplace_back(std::int64_t{layer});
    for (const std::string& linear : linears_) {
      const LayerLoss* loss = find_loss(&cell, layer, linear);
      row.values.push_back(
          loss == nullptr
              ? Value{}
              : quantity(*loss, find_loss(identity, layer, linear)));
    }
    return row;
  }

  const std::vector<StoredCell>& cells_;
  ParameterColumns parameters_;
  std::vector<std::string> linears_;
};

void add_published(const LayersTable& rows, Table& table) {
  const PublishedTable published = published_layers();
  Section mse{"published_mse",
              "Published: mean squared error × 1000",
              published.source,
              {}};
  Section ratio{
      "published_ratio", "Published: ratio to identity", published.source, {}};
  const PublishedRow* identity = nullptr;
  for (const PublishedRow& row : published.rows) {
    if (row.transform == "identity") identity = &row;
    mse.rows.push_back(rows.published_row(row, published, nullptr));
    ratio.rows.push_back(rows.published_row(row, published, identity));
  }
  table.sections.push_back(mse);
  table.sections.push_back(ratio);
  table.notes.push_back("Published rows are not results of this program: " +
                        published.source + ".");
}

bool has_layer_loss(const CellResult& result) {
  return !result.layer_loss.empty() || result.parameters.format == "none";
}

}  // namespace

Table make_layers_table(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const LayersTable rows(set.cells);
  Table table{
      "layers",       "Layer loss: mean squared error of each linear's output",
      rows.columns(), {},
      set.notes,      missing_measurements(set, "layer_loss", has_layer_loss)};
  const auto add = [&](const char* key, const char* title, Quantity quantity) {
    Section section = rows.section(key, title, quantity);
    if (!section.rows.empty()) table.sections.push_back(std::move(section));
  };
  add("mse", "Mean squared error × 1000", show_mse);
  add("ratio", "Ratio to identity", show_ratio);
  add("db", "Loss over signal, dB", show_decibels);
  if (request.published || has_model(set, published_layers().rows[0].model)) {
    add_published(rows, table);
  }
  table.notes.push_back(
      "± is the standard error over repeats with other seeds, where a "
      "transform "
      "is random. The ratio is to the same cell without a transform.");
  for (std::string& note : record_notes(set.cells, rows.options())) {
    table.notes.push_back(std::move(note));
  }
  return table;
}

}  // namespace wush
