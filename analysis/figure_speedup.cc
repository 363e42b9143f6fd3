// Figure 2: speedup of a linear over an unquantized one, one panel a model.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "analysis/cells.h"
#include "analysis/figures.h"
#include "analysis/speedup_data.h"

namespace wush {
namespace {

constexpr double kBarWidth = 0.26;

// Stands once, below all panels.
constexpr char kLegend[] = R"gp(
unset title
unset xtics
unset ytics
unset ylabel
unset border
unset grid
set lmargin at screen 0.05
set rmargin at screen 0.95
set bmargin at screen 0.02
set tmargin at screen 0.11
set yrange [0:1]
set key at graph 0.5,0.5 center center horizontal maxrows 1 samplen 1.5 width 1
plot NaN title "FP4 matmul alone" with boxes linecolor rgb "{}", \
  NaN title "Hadamard + quantize + matmul" with boxes linecolor rgb "{}", \
  NaN title "WUSH + quantize + matmul" with boxes linecolor rgb "{}", \
  NaN title "unquantized" with lines dashtype 2 linewidth 1.2 linecolor rgb "black"
)gp";

struct Panel {
  std::string title;
  std::string baseline;
  std::vector<Speedup> shapes;
};

// One panel for each model, format, device and M, in the order of the rows.
std::vector<Panel> panels(const std::vector<Speedup>& speedups,
                          const std::string& prefix) {
  std::vector<Panel> result;
  for (const Speedup& speedup : speedups) {
    const std::string title =
        fmt::format("{}{} {}, {}, M = {}", prefix, speedup.model,
                    speedup.format, speedup.device, speedup.tokens);
    auto panel = std::find_if(result.begin(), result.end(),
                              [&](const Panel& p) { return p.title == title; });
    if (panel == result.end()) {
      panel = result.insert(panel, {title, speedup.baseline, {}});
    }
    panel->shapes.push_back(speedup);
  }
  return result;
}

// x and the three speedups; a missing one is NaN, which gnuplot leaves out.
std::string panel_data(const Panel& panel) {
  std::string lines;
  for (std::size_t i = 0; i < panel.shapes.size(); ++i) {
    const Speedup& shape = panel.shapes[i];
    lines += fmt::format("{}", i);
    for (const auto& value : {shape.matmul, shape.hadamard, shape.wush}) {
      lines += value ? fmt::format(" {}", *value) : std::string(" NaN");
    }
    lines += "\n";
  }
  return lines;
}

std::string panel_script(const Panel& panel, std::size_t index,
                         double maximum) {
  std::string tics;
  for (std::size_t i = 0; i < panel.shapes.size(); ++i) {
    tics += fmt::format("{}\"N={}\\nK={}\" {}", i == 0 ? "" : ", ",
                        panel.shapes[i].outputs, panel.shapes[i].inputs, i);
  }
  return fmt::format(
      "set title \"{}\"\nset xtics ({}) scale 0\nset xrange [-0.6:{}]\n"
      "set yrange [0:{}]\n"
      "plot $panel{} using ($1-{w}):2 with boxes linecolor rgb \"{}\", "
      "'' using 1:3 with boxes linecolor rgb \"{}\", "
      "'' using ($1+{w}):4 with boxes linecolor rgb \"{}\", "
      "1 with lines dashtype 2 linewidth 1.2 linecolor rgb \"black\"\n",
      plot_text(panel.title), tics,
      static_cast<double>(panel.shapes.size()) - 0.4, maximum, index,
      plot_color(0), plot_color(1), plot_color(2), fmt::arg("w", kBarWidth));
}

double largest(const std::vector<Panel>& panels) {
  double value = 1;
  for (const Panel& panel : panels) {
    for (const Speedup& shape : panel.shapes) {
      for (const auto& speedup : {shape.matmul, shape.hadamard, shape.wush}) {
        value = std::max(value, speedup.value_or(0));
      }
    }
  }
  return value;
}

}  // namespace

Plot make_speedup_figure(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  std::vector<std::string> notes;
  std::vector<Panel> all = panels(read_speedups(set.cells, notes), "");
  for (Panel& panel : panels(published_speedup_rows(), "published: ")) {
    all.push_back(std::move(panel));
  }
  constexpr std::size_t kColumns = 3;
  const std::size_t rows = (all.size() + kColumns - 1) / kColumns;
  Plot plot;
  plot.width = 10;
  plot.height = 0.6 + 3.3 * static_cast<double>(rows);
  plot.script = fmt::format(
      "set multiplot layout {},{} margins screen 0.06,0.99,{:.3f},{:.3f} "
      "spacing screen 0.05,{:.3f}\n"
      "set style fill solid 0.9 border linecolor rgb \"black\"\n"
      "set boxwidth {}\nset grid ytics linecolor rgb \"#DDDDDD\" linetype 1\n"
      "set ytics 1 scale 0.5\nunset key\n",
      rows, kColumns, 0.95 / plot.height, 1 - 0.35 / plot.height,
      0.95 / plot.height, kBarWidth);
  const double maximum = 1.08 * largest(all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    plot.data.emplace_back(fmt::format("panel{}", i), panel_data(all[i]));
    plot.script +=
        fmt::format("set ylabel \"speedup over {}, ×\"\n", all[i].baseline);
    plot.script += panel_script(all[i], i, maximum);
  }
  plot.script +=
      fmt::format(kLegend, plot_color(0), plot_color(1), plot_color(2));
  plot.script += "unset multiplot\n";
  return plot;
}

}  // namespace wush
