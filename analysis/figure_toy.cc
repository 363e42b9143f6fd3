// Figure 1: what each transform does to the expected error of a two-dimensional
// quantizer whose noise is proportional to each transformed coordinate (FP) or
// to the largest one (INT).
#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/LU>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "analysis/figures.h"

namespace wush {
namespace {

using Matrix = Eigen::Matrix2d;
using Vector = Eigen::Vector2d;

enum class Noise { kFp, kInt };

// The paper's example.
constexpr double kAxisA = 1.0;  // standard deviations of the data
constexpr double kAxisB = 0.3;
constexpr double kAngle = 15;   // degrees, of the first axis
constexpr double kFrame = 1.5;  // half width of a panel
constexpr double kEllipseScale = 1.15;
constexpr double kNoiseScale = 0.5;  // half width of the noise per unit
constexpr double kGridStep = 0.5;
constexpr int kPixels = 61;  // of a colour map, along each axis

const std::array<Vector, 2> kPoints = {Vector(0.92, 0.22), Vector(0.38, -0.55)};
constexpr std::array<const char*, 2> kPointColors = {"#006D2C", "#66C164"};

struct NamedTransform {
  const char* title;  // gnuplot's enhanced text
  Matrix matrix;
  bool changes_fp;  // whether the expected FP error differs from identity's
};

Matrix rotation(double degrees) {
  const double angle = degrees * std::numbers::pi / 180;
  Matrix result;
  result << std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle);
  return result;
}

// H is the rotation by 45 degrees, which is the Hadamard matrix with its rows
// swapped and one of them negated; neither quantizer can tell.
std::vector<NamedTransform> transforms() {
  const Matrix h = rotation(45);
  const Matrix u_transposed = rotation(kAngle).transpose();
  const Matrix whitening = Vector(1 / kAxisA, 1 / kAxisB).asDiagonal();
  const Matrix half_whitening =
      Vector(1 / std::sqrt(kAxisA), 1 / std::sqrt(kAxisB)).asDiagonal();
  return {{"Identity   T = I", Matrix::Identity(), false},
          {"Hadamard   T = H", h, false},
          {"Calibrated Hadamard   T = HU^T", h * u_transposed, false},
          {"Whitening   T = S^{-1}U^T", whitening * u_transposed, false},
          {"WUS   T = S^{-1/2}U^T", half_whitening * u_transposed, false},
          {"WUSH   T = HS^{-1/2}U^T", h * half_whitening * u_transposed, true}};
}

Matrix covariance() {
  const Matrix u = rotation(kAngle);
  const Matrix variances =
      Vector(kAxisA * kAxisA, kAxisB * kAxisB).asDiagonal();
  return u * variances * u.transpose();
}

// Half widths of the box in transformed space in which the noise is uniform.
Vector half_widths(const Matrix& transform, const Vector& x, Noise noise) {
  const Vector magnitude = (transform * x).cwiseAbs();
  if (noise == Noise::kFp) return kNoiseScale * magnitude;
  return kNoiseScale * Vector::Constant(magnitude.maxCoeff());
}

// Root of the expected squared error, in original space: column j of T^-1 times
// a uniform value of variance width_j^2 / 3.
double expected_error(const Matrix& transform, const Vector& x, Noise noise) {
  const Vector widths = half_widths(transform, x, noise);
  const Matrix error = transform.inverse() * widths.asDiagonal();
  return error.norm() / std::sqrt(3.0);
}

// Mean of the squared error over Gaussian data. The squared error scales with
// the squared radius of the whitened data, whose mean is 2, and depends on its
// angle otherwise.
double mean_squared_error(const Matrix& transform, Noise noise) {
  constexpr int kAngles = 3600;
  const Matrix root = covariance().llt().matrixL();
  double sum = 0;
  for (int i = 0; i < kAngles; ++i) {
    const double angle = 2 * std::numbers::pi * i / kAngles;
    const Vector x = root * Vector(std::cos(angle), std::sin(angle));
    sum += 2 * std::pow(expected_error(transform, x, noise), 2);
  }
  return sum / kAngles;
}

std::string line(const Vector& point) {
  return fmt::format("{:.5f} {:.5f}\n", point.x(), point.y());
}

// Lines of the original coordinates as they look under `view`.
std::string grid_data(const Matrix& view) {
  // Enough lines to fill the panel, whatever the transform.
  const Matrix inverse = view.inverse();
  const double reach =
      inverse.cwiseAbs().rowwise().sum().maxCoeff() * kFrame + kGridStep;
  const int count = static_cast<int>(std::ceil(reach / kGridStep));
  std::string lines;
  for (int i = -count; i <= count; ++i) {
    const double at = i * kGridStep;
    lines += line(view * Vector(at, -reach)) + line(view * Vector(at, reach));
    lines += "\n";
    lines += line(view * Vector(-reach, at)) + line(view * Vector(reach, at));
    lines += "\n";
  }
  return lines;
}

std::string ellipse_data(const Matrix& view) {
  const Matrix root = covariance().llt().matrixL();
  std::string lines;
  for (int i = 0; i <= 120; ++i) {
    const double angle = 2 * std::numbers::pi * i / 120;
    lines += line(view * root * kEllipseScale *
                  Vector(std::cos(angle), std::sin(angle)));
  }
  return lines;
}

// The zone in which the noise puts the point.
std::string zone_data(const Matrix& transform, const Matrix& view,
                      const Vector& x, Noise noise) {
  const Vector widths = half_widths(transform, x, noise);
  const Matrix to_panel = view * transform.inverse();
  std::string lines;
  for (const auto& [sx, sy] : {std::pair{1, 1}, std::pair{-1, 1},
                               std::pair{-1, -1}, std::pair{1, -1}}) {
    const Vector corner(sx * widths.x(), sy * widths.y());
    lines += line(view * x + to_panel * corner);
  }
  return lines;
}

// A circle around the point whose radius is the expected error.
std::string circle_data(const Matrix& transform, const Matrix& view,
                        const Vector& x, Noise noise) {
  const Vector widths = half_widths(transform, x, noise);
  const Matrix error = view * transform.inverse() * widths.asDiagonal();
  const double radius = error.norm() / std::sqrt(3.0);
  std::string lines;
  for (int i = 0; i <= 72; ++i) {
    const double angle = 2 * std::numbers::pi * i / 72;
    lines += line(view * x + radius * Vector(std::cos(angle), std::sin(angle)));
  }
  return lines;
}

// Expected error less that of identity, over the panel.
std::string map_data(const Matrix& transform, const Matrix& view, Noise noise) {
  const Matrix to_original = view.inverse();
  std::string lines;
  for (int i = 0; i < kPixels; ++i) {
    for (int j = 0; j < kPixels; ++j) {
      const Vector panel(kFrame * (2.0 * i / (kPixels - 1) - 1),
                         kFrame * (2.0 * j / (kPixels - 1) - 1));
      const Vector x = to_original * panel;
      const double difference = expected_error(transform, x, noise) -
                                expected_error(Matrix::Identity(), x, noise);
      lines += fmt::format("{:.4f} {:.4f} {:.4f}\n", panel.x(), panel.y(),
                           difference);
    }
    lines += "\n";
  }
  return lines;
}

// One panel: its data is added to the plot, its commands are returned.
std::string add_panel(const NamedTransform& transform, Noise noise,
                      bool transformed_space, const std::string& name,
                      Plot& plot) {
  const Matrix& t = transform.matrix;
  const Matrix view = transformed_space ? t : Matrix::Identity();
  const auto add = [&plot, &name](const std::string& kind, std::string lines) {
    plot.data.emplace_back(kind + name, std::move(lines));
  };
  std::string commands = "plot ";
  const bool is_identity = t.isIdentity();
  if (!is_identity && (noise == Noise::kInt || transform.changes_fp)) {
    add("map", map_data(t, view, noise));
    commands += fmt::format("$map{0} using 1:2:3 with image, ", name);
  }
  add("grid", grid_data(view));
  add("ellipse", ellipse_data(view));
  commands += fmt::format(
      "$axes using 1:2 with lines linewidth 0.8 linecolor rgb \"black\", "
      "$grid{0} using 1:2 with lines linewidth 0.9 dashtype 3 linecolor rgb "
      "\"#555555\", $ellipse{0} using 1:2 with lines linewidth 1.4 linecolor "
      "rgb \"black\"",
      name);
  for (std::size_t i = 0; i < kPoints.size(); ++i) {
    const std::string key = fmt::format("{}_{}", name, i);
    plot.data.emplace_back("zone" + key, zone_data(t, view, kPoints[i], noise));
    plot.data.emplace_back("circle" + key,
                           circle_data(t, view, kPoints[i], noise));
    plot.data.emplace_back("point" + key, line(view * kPoints[i]));
    commands += fmt::format(
        ", $zone{0} using 1:2 with filledcurves closed fillstyle transparent "
        "solid 0.35 noborder linecolor rgb \"{1}\", $circle{0} using 1:2 with "
        "lines linewidth 1.6 linecolor rgb \"{1}\", $point{0} using 1:2 with "
        "points pointtype 7 pointsize 0.7 linecolor rgb \"{1}\"",
        key, kPointColors[i]);
  }
  return commands + "\n";
}

std::string error_label(const NamedTransform& transform, Noise noise) {
  const double ratio = mean_squared_error(transform.matrix, noise) /
                       mean_squared_error(Matrix::Identity(), noise);
  return fmt::format(
      "set label 2 \"mean squared error × {:.2f}\" at graph 0.5,0.06 center "
      "front font \",9\"\n",
      ratio);
}

// The colours of the maps from -0.75 to 0.75.
std::string color_bar_data() {
  std::string lines;
  for (int i = -50; i <= 50; ++i) {
    lines += fmt::format("{0} 0 {0}\n{0} 1 {0}\n\n", 0.75 * i / 50);
  }
  return lines;
}

constexpr char kLegend[] = R"gp(
unset label
unset border
set tmargin at screen 0.080
set bmargin at screen 0.005
set lmargin at screen 0.07
set rmargin at screen 0.62
set xrange [0:1]
set yrange [0:1]
set key at graph 0.0,1.0 left top Left reverse vertical maxcols 1 samplen 2.5 spacing 1.15
plot NaN title "grid of the original coordinates" with lines linewidth 0.9 dashtype 3 linecolor rgb "#555555", \
  NaN title "data: ellipse at 1.15 standard deviations" with lines linewidth 1.4 linecolor rgb "black", \
  NaN title "two example points" with points pointtype 7 linecolor rgb "#006D2C", \
  NaN title "zone of the uniform quantization noise" with filledcurves fillstyle transparent solid 0.35 noborder linecolor rgb "#006D2C", \
  NaN title "expected error, as the radius" with lines linewidth 1.6 linecolor rgb "#006D2C"
unset key
set tmargin at screen 0.058
set bmargin at screen 0.044
set lmargin at screen 0.64
set rmargin at screen 0.96
set border
set xrange [-0.75:0.75]
set xtics 0.25 scale 0.4 offset 0,0.1
set title "expected error less that of identity" offset 0,-0.7
plot $bar using 1:2:3 with image
)gp";

}  // namespace

Plot make_toy_figure(const AnalysisRequest&) {
  Plot plot;
  plot.width = 8;
  plot.height = 12.2;
  plot.script = fmt::format(R"gp(
set multiplot
set palette defined (-1 "#2166AC", 0 "#FFFFFF", 1 "#D6412B")
set cbrange [-0.75:0.75]
unset colorbox
unset key
unset tics
set border linewidth 0.8
set xrange [-{frame}:{frame}]
set yrange [-{frame}:{frame}]
set clip two
$axes << END_OF_DATA
-{frame} 0
{frame} 0

0 -{frame}
0 {frame}
END_OF_DATA
)gp",
                            fmt::arg("frame", kFrame));
  constexpr std::array<const char*, 4> kColumns = {
      "FP, original space", "FP, transformed space", "INT, original space",
      "INT, transformed space"};
  const std::vector<NamedTransform> rows = transforms();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < kColumns.size(); ++c) {
      const double left = 0.07 + 0.232 * static_cast<double>(c);
      const double top = 0.975 - 0.1472 * static_cast<double>(r);
      const Noise noise = c < 2 ? Noise::kFp : Noise::kInt;
      const bool transformed_space = c % 2 == 1;
      plot.script += fmt::format(
          "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\n"
          "set tmargin at screen {:.4f}\nset bmargin at screen {:.4f}\n",
          left, left + 0.2145, top, top - 0.2145 * plot.width / plot.height);
      plot.script +=
          r == 0 ? fmt::format("set title \"{}\" offset 0,-0.6\n", kColumns[c])
                 : std::string("unset title\n");
      plot.script +=
          c == 0 ? fmt::format("set ylabel \"{}\" offset 1,0 font \",9\"\n",
                               rows[r].title)
                 : std::string("unset ylabel\n");
      plot.script += transformed_space ? std::string("unset label 2\n")
                                       : error_label(rows[r], noise);
      plot.script += add_panel(rows[r], noise, transformed_space,
                               fmt::format("{}{}", r, c), plot);
    }
  }
  plot.data.emplace_back("bar", color_bar_data());
  plot.script += "unset ylabel\n" + std::string(kLegend) + "unset multiplot\n";
  return plot;
}

}  // namespace wush
