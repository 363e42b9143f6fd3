// Table 1 as bars: mean squared error of each linear, one panel for each model,
// layer and format.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "analysis/cells.h"
#include "analysis/figures.h"
#include "analysis/published.h"
#include "lib/support/error.h"

namespace wush {
namespace {

// More bars than this in one cluster cannot be told apart.
constexpr std::size_t kMaxSeries = 20;

struct Loss {
  std::string linear;
  double mse;
  double standard_error;
};

// Cells with the same colour label have the same colour; methods tell them
// apart by the pattern of the bars.
struct Series {
  std::string label;
  std::string color_label;
  std::string method;
  std::vector<Loss> losses;
};

struct Panel {
  std::string title;
  std::vector<std::string> linears;
  std::vector<Series> series;
};

// Index of a label among those met so far.
std::size_t index_of(std::vector<std::string>& labels,
                     const std::string& label) {
  const auto found = std::find(labels.begin(), labels.end(), label);
  const auto index = static_cast<std::size_t>(found - labels.begin());
  if (found == labels.end()) labels.push_back(label);
  return index;
}

Panel& find_panel(std::vector<Panel>& panels, const std::string& title) {
  for (Panel& panel : panels) {
    if (panel.title == title) return panel;
  }
  panels.push_back({title, {}, {}});
  return panels.back();
}

void add_loss(Panel& panel, const Series& series, Loss loss) {
  index_of(panel.linears, loss.linear);
  if (panel.series.empty() || panel.series.back().label != series.label) {
    panel.series.push_back(series);
  }
  panel.series.back().losses.push_back(std::move(loss));
}

bool several_methods(const std::vector<StoredCell>& cells) {
  std::string method;
  for (const StoredCell& cell : cells) {
    if (cell.result.layer_loss.empty()) continue;
    if (method.empty()) method = cell.result.parameters.method;
    if (method != cell.result.parameters.method) return true;
  }
  return false;
}

std::vector<Panel> own_panels(const std::vector<StoredCell>& cells) {
  const std::vector<std::string> options = varying_options(cells);
  const bool show_method = several_methods(cells);
  std::vector<Panel> panels;
  for (const StoredCell& cell : cells) {
    const CellParameters& parameters = cell.result.parameters;
    const std::string option = option_label(parameters, options);
    Series series;
    series.color_label = transform_label(parameters) + option;
    series.label = show_method ? transform_label(parameters) + " " +
                                     parameters.method + option
                               : series.color_label;
    series.method = parameters.method;
    for (const LayerLoss& loss : cell.result.layer_loss) {
      Panel& panel =
          find_panel(panels, fmt::format("{}, layer {}, {}", parameters.model,
                                         loss.layer, parameters.format));
      add_loss(panel, series,
               {loss.linear, loss.mse, estimate(loss.repeats).standard_error});
    }
  }
  return panels;
}

std::vector<Panel> published_panels() {
  const PublishedTable published = published_layers();
  std::vector<Panel> panels;
  for (const PublishedRow& row : published.rows) {
    Panel& panel =
        find_panel(panels, fmt::format("published (WUSH, table 1): {}, layer "
                                       "18, {}",
                                       row.model, row.format));
    for (std::size_t i = 0; i < published.columns.size(); ++i) {
      add_loss(panel, {row.transform, row.transform, "", {}},
               {published.columns[i], *row.values[i], 0});
    }
  }
  return panels;
}

// For one series: x, mse, standard error.
std::string series_data(const Panel& panel, std::size_t index, double width) {
  const auto count = static_cast<double>(panel.series.size());
  std::string lines;
  for (const Loss& loss : panel.series[index].losses) {
    const auto linear =
        std::find(panel.linears.begin(), panel.linears.end(), loss.linear);
    const double x = static_cast<double>(linear - panel.linears.begin()) +
                     (static_cast<double>(index) - (count - 1) / 2) * width;
    lines += fmt::format("{:.4f} {} {}\n", x, loss.mse, loss.standard_error);
  }
  return lines;
}

std::string panel_script(const Panel& panel, std::size_t index, Plot& plot) {
  const double width = 0.84 / static_cast<double>(panel.series.size());
  std::string tics;
  for (std::size_t i = 0; i < panel.linears.size(); ++i) {
    tics += fmt::format("{}\"{}\" {}", i == 0 ? "" : ", ",
                        plot_text(panel.linears[i]), i);
  }
  std::string script = fmt::format(
      "set title \"{}\"\nset xtics ({}) scale 0\nset xrange [-0.6:{}]\n"
      "set boxwidth {:.4f}\nplot ",
      plot_text(panel.title), tics,
      static_cast<double>(panel.linears.size()) - 0.4, width);
  std::vector<std::string> colors;
  std::vector<std::string> methods;
  for (std::size_t s = 0; s < panel.series.size(); ++s) {
    const Series& series = panel.series[s];
    const std::size_t method = index_of(methods, series.method);
    const std::string name = fmt::format("panel{}_{}", index, s);
    plot.data.emplace_back(name, series_data(panel, s, width));
    script += fmt::format(
        "{}${} using 1:2 title \"{}\" with boxes fillstyle {} linecolor rgb "
        "\"{}\", ${} using 1:($3 > 0 ? $2 - $3 : NaN):(0):(2 * $3) notitle "
        "with vectors nohead linewidth 1.5 linecolor rgb \"black\"",
        s == 0 ? "" : ", ", name, plot_text(series.label),
        method == 0 ? "solid 0.9" : fmt::format("pattern {}", method * 2 + 2),
        plot_color(index_of(colors, series.color_label)), name);
  }
  return script + "\n";
}

void check_panels(const std::vector<Panel>& panels) {
  if (panels.empty()) {
    throw InputError("figure layers",
                     "expected layer losses in the results, found none; put "
                     "layer_loss under `measure:` of the configuration");
  }
  for (const Panel& panel : panels) {
    if (panel.series.size() > kMaxSeries) {
      throw InputError(
          "figure layers",
          fmt::format("expected at most {} bars a linear in {}, found {}; draw "
                      "a results file with fewer transforms or options",
                      kMaxSeries, panel.title, panel.series.size()));
    }
  }
}

}  // namespace

Plot make_layers_figure(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  std::vector<Panel> panels;
  if (!request.inputs.empty()) panels = own_panels(set.cells);
  if (request.inputs.empty() || request.published) {
    for (Panel& panel : published_panels()) panels.push_back(std::move(panel));
  }
  check_panels(panels);
  Plot plot;
  plot.width = 9;
  plot.height = 0.2 + 2.9 * static_cast<double>(panels.size());
  plot.script = fmt::format(
      "set multiplot layout {},1 margins screen 0.09,0.80,{:.4f},{:.4f} "
      "spacing "
      "screen 0,{:.4f}\n"
      "set style fill solid 0.9 border linecolor rgb \"#333333\"\n"
      "set logscale y\nset format y \"10^{{%T}}\"\n"
      "set grid ytics mytics linecolor rgb \"#DDDDDD\" linetype 1, linecolor "
      "rgb \"#EEEEEE\" linetype 1\n"
      "set ylabel \"mean squared error\"\n"
      "set key at graph 1.02,1 left top Left reverse samplen 1\n",
      panels.size(), 0.4 / plot.height, 1 - 0.4 / plot.height,
      0.75 / plot.height);
  for (std::size_t i = 0; i < panels.size(); ++i) {
    plot.script += panel_script(panels[i], i, plot);
  }
  plot.script += "unset multiplot\n";
  return plot;
}

}  // namespace wush
