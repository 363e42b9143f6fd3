// A sweep of kbbq's lambda: perplexity and KL divergence as paired differences
// from lambda = 1, which is wush, so that the spread of the text drops out.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "analysis/cells.h"
#include "analysis/figures.h"
#include "lib/support/error.h"

namespace wush {
namespace {

struct Point {
  double lambda;
  Estimate difference;
};

// Differences by line (format, method, varying options) of one panel.
using Curves = std::map<std::string, std::vector<Point>>;

struct Panel {
  std::string model;
  std::string unit;  // label of the vertical axis
  Curves curves;
};

using Windows = const std::vector<double>* (*)(const CellResult& result);

const std::vector<double>* nll_windows(const CellResult& result) {
  return result.perplexity ? &result.perplexity->window_nll : nullptr;
}

const std::vector<double>* kl_windows(const CellResult& result) {
  return result.divergence ? &result.divergence->window_kl : nullptr;
}

// The same cell at lambda = 1: in the sweep itself, or its wush.
const StoredCell* find_wush(const std::vector<StoredCell>& cells,
                            const StoredCell& cell) {
  static const Baseline kLambdaOne("lambda=1");
  static const Baseline kWush("transform=wush");
  const StoredCell* found = kLambdaOne.find(cells, cell);
  return found != nullptr ? found : kWush.find(cells, cell);
}

Curves make_curves(const std::vector<StoredCell>& cells,
                   const std::string& model, Windows windows) {
  const std::vector<std::string> options = varying_options(cells);
  Curves curves;
  for (const StoredCell& cell : cells) {
    const CellParameters& parameters = cell.result.parameters;
    const auto text = parameters.options.find("lambda");
    if (parameters.model != model || text == parameters.options.end()) continue;
    const std::vector<double>* own = windows(cell.result);
    if (own == nullptr) continue;
    const double lambda = std::strtod(text->second.c_str(), nullptr);
    if (lambda == 1) continue;  // added below, exactly zero
    std::string label = parameters.format + " " + parameters.method;
    label += option_label(parameters, options);
    const StoredCell* wush = find_wush(cells, cell);
    const std::vector<double>* other =
        wush == nullptr ? nullptr : windows(wush->result);
    if (other == nullptr) continue;
    if (const auto difference = paired_difference(*own, *other)) {
      curves[label].push_back({lambda, *difference});
    }
  }
  for (auto& [label, points] : curves) {
    points.push_back({1, {}});
    std::sort(points.begin(), points.end(),
              [](const auto& a, const auto& b) { return a.lambda < b.lambda; });
  }
  return curves;
}

std::vector<Panel> make_panels(const std::vector<StoredCell>& cells) {
  std::vector<std::string> models;
  for (const StoredCell& cell : cells) {
    const std::string& model = cell.result.parameters.model;
    if (std::find(models.begin(), models.end(), model) == models.end()) {
      models.push_back(model);
    }
  }
  std::vector<Panel> panels;
  for (const std::string& model : models) {
    Panel nll{model, "Δ NLL from λ = 1, nats",
              make_curves(cells, model, nll_windows)};
    Panel kl{model, "Δ KL from λ = 1, nats",
             make_curves(cells, model, kl_windows)};
    for (Panel* panel : {&nll, &kl}) {
      if (!panel->curves.empty()) panels.push_back(std::move(*panel));
    }
  }
  return panels;
}

std::string panel_script(const Panel& panel, std::size_t index, Plot& plot) {
  std::string script = fmt::format(
      "set title \"{}\"\nset ylabel \"{}\"\nplot 0 notitle with "
      "lines linewidth 1 dashtype 2 linecolor rgb \"black\"",
      plot_text(panel.model), panel.unit);
  // Curves stand beside each other, so that their bars can be told apart.
  const double dodge = 0.012;
  const double middle = (static_cast<double>(panel.curves.size()) - 1) / 2;
  std::size_t curve = 0;
  for (const auto& [label, points] : panel.curves) {
    const std::string name = fmt::format("panel{}_{}", index, curve);
    std::string lines;
    for (const Point& point : points) {
      const double x =
          point.lambda + dodge * (static_cast<double>(curve) - middle);
      lines += fmt::format("{:.4f} {} {}\n", x, point.difference.mean,
                           point.difference.standard_error);
    }
    plot.data.emplace_back(name, std::move(lines));
    script += fmt::format(
        ", ${0} using 1:2 notitle with lines linewidth 1.5 linecolor rgb "
        "\"{1}\", ${0} using 1:2:3 title \"{2}\" with yerrorbars pointtype {3} "
        "pointsize 0.6 linewidth 1.2 linecolor rgb \"{1}\"",
        name, plot_color(curve), plot_text(label), 4 + curve);
    ++curve;
  }
  return script + "\n";
}

}  // namespace

Plot make_lambda_figure(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const std::vector<Panel> panels = make_panels(set.cells);
  if (panels.empty()) {
    throw InputError(
        "figure lambda",
        "expected perplexities or KL divergences of kbbq at several lambda and "
        "of wush (or kbbq at lambda 1), found none; "
        "configs/studies/lambda.yaml computes them");
  }
  Plot plot;
  plot.width = 8;
  plot.height = 0.3 + 3.4 * static_cast<double>(panels.size());
  plot.script = fmt::format(
      "set multiplot layout {},1 margins screen 0.11,0.76,{:.4f},{:.4f} "
      "spacing "
      "screen 0,{:.4f}\n"
      "set xrange [-0.06:2.06]\nset xtics 0.25\n"
      "set grid linecolor rgb \"#DDDDDD\" linetype 1\n"
      "set xlabel \"λ (0: white weights, 1: wush, 2: white activations); bars "
      "are one "
      "standard error of the paired difference\" offset 0,0.3\n"
      "set key at graph 1.02,1 left top Left reverse samplen 1.5\n",
      panels.size(), 0.6 / plot.height, 1 - 0.35 / plot.height,
      1.0 / plot.height);
  for (std::size_t i = 0; i < panels.size(); ++i) {
    plot.script += panel_script(panels[i], i, plot);
  }
  plot.script += "unset multiplot\n";
  return plot;
}

}  // namespace wush
