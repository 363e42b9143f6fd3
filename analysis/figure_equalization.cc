// Figure 5: root mean square and largest magnitude of every input channel of a
// real layer's weights and activations, before and after each transform.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "analysis/cells.h"
#include "analysis/figures.h"
#include "lib/results/table.h"
#include "lib/support/error.h"

namespace wush {
namespace {

// The table of a cell: a row a channel, columns channel (int64), weight_rms,
// weight_max, activation_rms and activation_max (float64), of W T^-1 and T x;
// attributes layer (int64) and linear (text).
constexpr char kTableName[] = "equalization";

struct Channels {
  std::string label;
  std::string linear;
  const DataTable* table;
};

std::vector<Channels> find_channels(const std::vector<StoredCell>& cells) {
  const std::vector<std::string> options = varying_options(cells);
  std::vector<Channels> found;
  for (const StoredCell& cell : cells) {
    const auto table = cell.result.tables.find(kTableName);
    if (table == cell.result.tables.end()) continue;
    const CellParameters& parameters = cell.result.parameters;
    std::string label = transform_label(parameters);
    label += option_label(parameters, options);
    const auto& attributes = table->second.attributes;
    const auto layer = attributes.find("layer");
    const auto linear = attributes.find("linear");
    std::string where = fmt::format("{}, {}, {}", parameters.model,
                                    parameters.format, parameters.method);
    if (layer != attributes.end() && linear != attributes.end()) {
      const auto* number = std::get_if<std::int64_t>(&layer->second);
      const auto* name = std::get_if<std::string>(&linear->second);
      if (number != nullptr && name != nullptr) {
        where += fmt::format(", layer {} {}", *number, *name);
      }
    }
    // One model, format and method, the first: their transforms differ.
    if (!found.empty() && found.front().linear != where) continue;
    found.push_back({label, where, &table->second});
  }
  return found;
}

const std::vector<double>& values(const Channels& channels, const char* name) {
  const DataColumn* column = channels.table->find(name);
  const auto* numbers = column == nullptr
                            ? nullptr
                            : std::get_if<std::vector<double>>(&column->values);
  if (numbers == nullptr) {
    throw InputError("figure equalization",
                     fmt::format("expected a column {} of numbers in the table "
                                 "{}, found none",
                                 name, kTableName));
  }
  return *numbers;
}

std::string panel_data(const Channels& channels, const std::string& side) {
  const auto& rms = values(channels, (side + "_rms").c_str());
  const auto& maximum = values(channels, (side + "_max").c_str());
  std::string lines;
  for (std::size_t i = 0; i < rms.size(); ++i) {
    lines += fmt::format("{} {} {}\n", i, rms[i], maximum[i]);
  }
  return lines;
}

// The range that holds every positive value of one side, so that the panels of
// a row can be compared.
std::string common_range(const std::vector<Channels>& all,
                         const std::string& side) {
  double lowest = std::numeric_limits<double>::infinity();
  double highest = 0;
  for (const Channels& channels : all) {
    for (const double value : values(channels, (side + "_rms").c_str())) {
      if (value > 0) lowest = std::min(lowest, value);
    }
    for (const double value : values(channels, (side + "_max").c_str())) {
      highest = std::max(highest, value);
    }
  }
  if (!(lowest <= highest)) return "set yrange [*:*]\n";
  return fmt::format("set yrange [{}:{}]\n", lowest / 2, highest * 1.5);
}

std::string add_panel(const Channels& channels, const std::string& side,
                      std::size_t index, Plot& plot) {
  const std::string name = fmt::format("{}{}", side, index);
  plot.data.emplace_back(name, panel_data(channels, side));
  return fmt::format(
      "set title \"{}\"\nset xrange [-1:{}]\nplot ${} using 1:3 title "
      "\"largest magnitude\" with "
      "impulses linewidth 0.7 linecolor rgb \"#9ECAE1\", '' using 1:2 title "
      "\"root mean square\" with lines linewidth 1.2 linecolor rgb \"{}\"\n",
      plot_text(channels.label), channels.table->rows(), name, plot_color(1));
}

}  // namespace

Plot make_equalization_figure(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const std::vector<Channels> channels = find_channels(set.cells);
  if (channels.empty()) {
    throw InputError("figure equalization",
                     "expected the table equalization in the results, found "
                     "none; put equalization under `measure:` of the "
                     "configuration");
  }
  const std::size_t count = channels.size();
  Plot plot;
  plot.width = 2.6 * static_cast<double>(count) + 0.6;
  plot.height = 6;
  plot.script = fmt::format(
      "set multiplot layout 2,{} title \"{}\" margins screen "
      "{:.4f},0.99,0.15,0.88 spacing screen {:.4f},0.17\n"
      "set logscale y\nset format y \"10^{{%T}}\"\nunset key\n"
      "set xlabel \"input channel\" offset 0,0.3\n"
      "set grid ytics linecolor rgb \"#DDDDDD\" linetype 1\n",
      count, plot_text(channels.front().linear), 0.75 / plot.width,
      0.55 / plot.width);
  for (const std::string side : {"weight", "activation"}) {
    plot.script += common_range(channels, side);
    for (std::size_t i = 0; i < count; ++i) {
      plot.script += i == 0 ? fmt::format("set ylabel \"absolute {}\"\n", side)
                            : std::string("unset ylabel\n");
      if (side == "activation" && i + 1 == count) {
        plot.script +=
            "set key at screen 0.5,screen 0.01 center bottom horizontal Left "
            "reverse\n";
      }
      plot.script += add_panel(channels[i], side, i, plot);
    }
  }
  plot.script += "unset multiplot\n";
  return plot;
}

}  // namespace wush
