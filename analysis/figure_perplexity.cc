// Perplexity of every cell with standard errors, one panel for each model and
// format, against the unquantized model.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "analysis/cells.h"
#include "analysis/figures.h"
#include "lib/support/error.h"

namespace wush {
namespace {

struct Point {
  std::string label;  // transform and varying options
  std::string method;
  double value;
  double standard_error;
};

struct Panel {
  std::string model;
  std::string format;
  std::vector<Point> points;
};

Panel& find_panel(std::vector<Panel>& panels, const CellParameters& cell) {
  for (Panel& panel : panels) {
    if (panel.model == cell.model && panel.format == cell.format) return panel;
  }
  panels.push_back({cell.model, cell.format, {}});
  return panels.back();
}

std::vector<Panel> make_panels(const std::vector<StoredCell>& cells) {
  const std::vector<std::string> options = varying_options(cells);
  std::vector<Panel> panels;
  for (const StoredCell& cell : cells) {
    if (is_reference(cell) || !cell.result.perplexity) continue;
    const CellParameters& parameters = cell.result.parameters;
    std::string label = transform_label(parameters);
    label += option_label(parameters, options);
    const Perplexity& perplexity = *cell.result.perplexity;
    find_panel(panels, parameters)
        .points.push_back({label, parameters.method, perplexity.value,
                           perplexity.standard_error});
  }
  return panels;
}

std::optional<double> reference_value(const std::vector<StoredCell>& cells,
                                      const std::string& model) {
  for (const StoredCell& cell : cells) {
    if (is_reference(cell) && cell.result.parameters.model == model &&
        cell.result.perplexity) {
      return cell.result.perplexity->value;
    }
  }
  return std::nullopt;
}

template <class Member>
std::vector<std::string> distinct(const std::vector<Point>& points,
                                  Member member) {
  std::vector<std::string> names;
  for (const Point& point : points) {
    if (std::find(names.begin(), names.end(), point.*member) == names.end()) {
      names.push_back(point.*member);
    }
  }
  return names;
}

// Rows are labels from top to bottom: value, row, standard error.
std::string points_data(const Panel& panel,
                        const std::vector<std::string>& labels,
                        const std::string& method, double shift) {
  std::string lines;
  for (const Point& point : panel.points) {
    if (point.method != method) continue;
    const auto row = std::find(labels.begin(), labels.end(), point.label);
    lines += fmt::format("{} {:.3f} {}\n", point.value,
                         static_cast<double>(row - labels.begin()) + shift,
                         point.standard_error);
  }
  return lines;
}

std::string panel_script(const Panel& panel, std::size_t index,
                         const std::optional<double>& reference, Plot& plot) {
  const std::vector<std::string> labels = distinct(panel.points, &Point::label);
  const std::vector<std::string> methods =
      distinct(panel.points, &Point::method);
  std::string tics;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    tics +=
        fmt::format("{}\"{}\" {}", i == 0 ? "" : ", ", plot_text(labels[i]), i);
  }
  const double end = static_cast<double>(labels.size()) - 0.4;
  std::string script = fmt::format(
      "set title \"{}, {}\"\nset ytics ({}) scale 0\n"
      "set yrange [{}:-0.6]\nplot ",
      plot_text(panel.model), plot_text(panel.format), tics, end);
  if (reference) {
    const std::string name = fmt::format("reference{}", index);
    plot.data.emplace_back(name,
                           fmt::format("{0} -0.6\n{0} {1}\n", *reference, end));
    script += fmt::format(
        "${} using 1:2 title \"unquantized\" with lines dashtype 2 linewidth "
        "1.5 linecolor rgb \"black\", ",
        name);
  }
  for (std::size_t m = 0; m < methods.size(); ++m) {
    const std::string name = fmt::format("panel{}_{}", index, m);
    const double shift = 0.22 * (static_cast<double>(m) -
                                 (static_cast<double>(methods.size()) - 1) / 2);
    plot.data.emplace_back(name, points_data(panel, labels, methods[m], shift));
    script += fmt::format(
        "{}${} using 1:2:3 title \"{}\" with xerrorbars pointtype {} pointsize "
        "0.7 linewidth 1.5 linecolor rgb \"{}\"",
        m == 0 ? "" : ", ", name, plot_text(methods[m]), 5 + 2 * m,
        plot_color(m));
  }
  return script + "\n";
}

}  // namespace

Plot make_perplexity_figure(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const std::vector<Panel> panels = make_panels(set.cells);
  if (panels.empty()) {
    throw InputError("figure perplexity",
                     "expected perplexities in the results, found none; put "
                     "perplexity under `measure:` of the configuration");
  }
  std::size_t longest = 0;
  std::size_t rows = 0;
  for (const Panel& panel : panels) {
    const auto labels = distinct(panel.points, &Point::label);
    rows = std::max(rows, labels.size());
    for (const std::string& label : labels) {
      longest = std::max(longest, label.size());
    }
  }
  Plot plot;
  const double left = 0.4 + 0.085 * static_cast<double>(longest);  // inches
  plot.width = left + 6.2;
  const double panel_height = 1.1 + 0.24 * static_cast<double>(rows);
  plot.height = 0.2 + panel_height * static_cast<double>(panels.size());
  plot.script = fmt::format(
      "set multiplot layout {},1 margins screen {:.4f},{:.4f},{:.4f},{:.4f} "
      "spacing screen 0,{:.4f}\n"
      "set grid xtics linecolor rgb \"#DDDDDD\" linetype 1\n"
      "set xlabel \"perplexity (± one standard error over windows)\" offset "
      "0,0.4\n"
      "set key at graph 1.02,1 left top Left reverse samplen 1.5\n",
      panels.size(), left / plot.width, 1 - 1.35 / plot.width,
      0.55 / plot.height, 1 - 0.35 / plot.height, 1.05 / plot.height);
  for (std::size_t i = 0; i < panels.size(); ++i) {
    plot.script += panel_script(
        panels[i], i, reference_value(set.cells, panels[i].model), plot);
  }
  plot.script += "unset multiplot\n";
  return plot;
}

}  // namespace wush
