// Figure 6: the model of a floating-point quantizer replaces 2^x by 1 + x
// between two powers of two.
#include <fmt/format.h>

#include <cmath>

#include "analysis/figures.h"

namespace wush {

Plot make_fp_model_figure(const AnalysisRequest&) {
  // The gap 1 + x - 2^x is largest where its derivative 1 - 2^x ln 2 is zero.
  const double x = -std::log2(std::log(2.0));
  const double line = 1 + x;
  const double power = std::exp2(x);
  Plot plot;
  plot.width = 4.5;
  plot.height = 4.5;
  plot.data.emplace_back("gap",
                         fmt::format("{} {}\n{} {}\n", x, power, x, line));
  plot.script = fmt::format(
      R"gp(
set xrange [-0.5:1.5]
set yrange [0.5:2.5]
set size ratio -1
set xtics 0.5 scale 0.5
set ytics 0.5 scale 0.5
set grid linecolor rgb "#DDDDDD" linetype 1
set xlabel "x (fraction of the way to the next power of two)"
set ylabel "y"
set key left top reverse Left samplen 2
set samples 400
set label "largest gap {gap:.3f} at x = {x:.3f}" at 1.46,{below} right textcolor rgb "{green}"
plot 1 + x notitle with lines dashtype 3 linewidth 1.5 linecolor rgb "{blue}", \
  2**x notitle with lines dashtype 3 linewidth 1.5 linecolor rgb "{red}", \
  [0:1] 1 + x title "y = 1 + x" with lines linewidth 2.5 linecolor rgb "{blue}", \
  [0:1] 2**x title "y = 2^x" with lines linewidth 2.5 linecolor rgb "{red}", \
  $gap using 1:2 notitle with lines linewidth 3 linecolor rgb "{green}"
)gp",
      fmt::arg("gap", line - power), fmt::arg("x", x),
      fmt::arg("below", power - 0.12), fmt::arg("blue", plot_color(0)),
      fmt::arg("red", plot_color(1)), fmt::arg("green", plot_color(2)));
  return plot;
}

}  // namespace wush
