// Figures are drawn by gnuplot, which reads the data written for it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace wush {

// A figure before it is drawn. The script must not set a terminal or an output.
struct Plot {
  double width = 6;   // inches
  double height = 4;  // inches
  // Data by the name that the script uses with a leading dollar ("points" is
  // read as $points): lines of columns separated by blanks.
  std::vector<std::pair<std::string, std::string>> data;
  std::string script;
};

enum class FigureKind { kSvg, kPng, kPdf };

// From the extension of a path. Throws InputError unless it is .svg, .png or
// .pdf.
FigureKind figure_kind(const std::filesystem::path& output);

// The finished drawing's bytes. Throws InputError when gnuplot is not
// installed, naming the package.
std::string draw_plot(const Plot& plot, FigureKind kind);

// Colours that stay apart in print and for the colour-blind (Okabe and Ito
// 2008, with two greys), repeated beyond ten.
std::string plot_color(std::size_t index);

// A text within double quotes of a script: `"`, `\` and the characters that
// gnuplot's enhanced text reads as commands are escaped.
std::string plot_text(const std::string& text);

}  // namespace wush
