// Figure 4: rotating a two-dimensional Gaussian by 45 degrees, the Hadamard
// matrix of that size up to a reflection, makes its marginals equal to each
// other, and each a Gaussian of the mean variance but for the correlation.
#include <fmt/format.h>

#include <Eigen/Core>
#include <Eigen/LU>
#include <cmath>
#include <numbers>
#include <string>

#include "analysis/figures.h"

namespace wush {
namespace {

constexpr double kLimit = 2;   // of both axes
constexpr int kPixels = 101;   // of the density, along each axis
constexpr int kSamples = 401;  // of a marginal

double marginal(double t, double variance) {
  return std::exp(-t * t / (2 * variance)) /
         std::sqrt(2 * std::numbers::pi * variance);
}

std::string density_data(const Eigen::Matrix2d& covariance) {
  const Eigen::Matrix2d precision = covariance.inverse();
  const double peak =
      1 / (2 * std::numbers::pi * std::sqrt(covariance.determinant()));
  std::string lines;
  for (int i = 0; i < kPixels; ++i) {
    for (int j = 0; j < kPixels; ++j) {
      const Eigen::Vector2d point(kLimit * (2.0 * i / (kPixels - 1) - 1),
                                  kLimit * (2.0 * j / (kPixels - 1) - 1));
      lines +=
          fmt::format("{:.4f} {:.4f} {:.5f}\n", point.x(), point.y(),
                      peak * std::exp(-0.5 * point.dot(precision * point)));
    }
    lines += "\n";
  }
  return lines;
}

// Ellipses of constant density at one, two and three standard deviations.
std::string contour_data(const Eigen::Matrix2d& covariance) {
  const double a = std::sqrt(covariance(0, 0));
  const double b = covariance(1, 0) / a;  // lower Cholesky factor
  const double c = std::sqrt(covariance(1, 1) - b * b);
  std::string lines;
  for (const double radius : {1.0, 2.0, 3.0}) {
    for (int i = 0; i <= 120; ++i) {
      const double angle = 2 * std::numbers::pi * i / 120;
      const double u = radius * std::cos(angle);
      const double v = radius * std::sin(angle);
      lines += fmt::format("{:.5f} {:.5f}\n", a * u, b * u + c * v);
    }
    lines += "\n";
  }
  return lines;
}

// t, p(x), p(y) and their mean.
std::string marginal_data(const Eigen::Matrix2d& covariance) {
  std::string lines;
  for (int i = 0; i < kSamples; ++i) {
    const double t = kLimit * (2.0 * i / (kSamples - 1) - 1);
    const double x = marginal(t, covariance(0, 0));
    const double y = marginal(t, covariance(1, 1));
    lines += fmt::format("{:.4f} {:.6f} {:.6f} {:.6f}\n", t, x, y, (x + y) / 2);
  }
  return lines;
}

std::string row_script(const std::string& name, const std::string& title,
                       double top, double bottom) {
  return fmt::format(
      R"gp(
set tmargin at screen {top}
set bmargin at screen {bottom}
set lmargin at screen 0.09
set rmargin at screen 0.43
set size ratio -1
set title "Joint density ({title})"
set xlabel "x" offset 0,0.5
set ylabel "y" offset 0.5,0
set xrange [-{limit}:{limit}]
set yrange [-{limit}:{limit}]
set xtics 1
set ytics 1
unset key
set colorbox
set cbrange [0:0.75]
set cbtics 0.25
set cblabel "p(x, y)" offset -0.5,0
plot $density_{name} using 1:2:3 with image, \
  $contour_{name} using 1:2 with lines linewidth 0.8 linecolor rgb "#444444"
unset colorbox
set size noratio
set lmargin at screen 0.62
set rmargin at screen 0.98
set title "Marginal densities ({title})"
set xlabel "value" offset 0,0.5
set ylabel "density" offset 1.5,0
set yrange [0:1.5]
set ytics 0.5
set grid linecolor rgb "#DDDDDD" linetype 1
set key right top samplen 3.5
plot $marginal_{name} using 1:2 title "p(x)" with lines linewidth 2.5 linecolor rgb "{blue}", \
  $marginal_{name} using 1:3 title "p(y)" with lines linewidth 2.5 linecolor rgb "{red}", \
  $marginal_{name} using 1:4 title "mean" with lines linewidth 2 dashtype 2 linecolor rgb "black"
unset grid
)gp",
      fmt::arg("top", top), fmt::arg("bottom", bottom),
      fmt::arg("title", title), fmt::arg("name", name),
      fmt::arg("limit", kLimit), fmt::arg("blue", plot_color(0)),
      fmt::arg("red", plot_color(1)));
}

}  // namespace

Plot make_marginals_figure(const AnalysisRequest&) {
  Eigen::Matrix2d original;
  original << 0.1, 0.02, 0.02, 0.5;  // the paper's example
  const double half = std::sqrt(0.5);
  Eigen::Matrix2d rotation;
  rotation << half, -half, half, half;
  const Eigen::Matrix2d rotated = rotation * original * rotation.transpose();
  Plot plot;
  plot.width = 7.5;
  plot.height = 6.4;
  for (const auto& [name, covariance] :
       {std::pair{"original", original}, std::pair{"rotated", rotated}}) {
    plot.data.emplace_back(fmt::format("density_{}", name),
                           density_data(covariance));
    plot.data.emplace_back(fmt::format("contour_{}", name),
                           contour_data(covariance));
    plot.data.emplace_back(fmt::format("marginal_{}", name),
                           marginal_data(covariance));
  }
  plot.script =
      "set multiplot\n"
      "set palette defined (0 \"#FFFFFF\", 0.5 \"#74C476\", 1 \"#00441B\")\n" +
      row_script("original", "original", 0.94, 0.59) +
      row_script("rotated", "rotated by 45°", 0.44, 0.09) + "unset multiplot\n";
  return plot;
}

}  // namespace wush
