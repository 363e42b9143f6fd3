#include "analysis/gnuplot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

#include "lib/support/error.h"
#include "lib/support/io.h"

extern char** environ;

namespace wush {
namespace {

namespace fs = std::filesystem;

// A folder of its own that goes away with its contents.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern =
        (fs::temp_directory_path() / "wush-figure-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw StorageError(fmt::format("{}: {}", pattern, std::strerror(errno)));
    }
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;  // nothing of value is left there
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string terminal(const Plot& plot, FigureKind kind) {
  switch (kind) {
    case FigureKind::kSvg:
      // 96 units an inch, the pixel of CSS.
      return fmt::format(
          "set terminal svg enhanced size {:.0f},{:.0f} font \"Liberation "
          "Sans,10\" background rgb \"white\"\n",
          plot.width * 96, plot.height * 96);
    case FigureKind::kPng:
      return fmt::format(
          "set terminal pngcairo enhanced size {:.0f},{:.0f} font \"Liberation "
          "Sans,10\" fontscale 2.083 linewidth 2.083 pointscale 2.083 "
          "background rgb \"white\"\n",
          plot.width * 200, plot.height * 200);
    case FigureKind::kPdf:
      break;
  }
  return fmt::format(
      "set terminal pdfcairo enhanced size {:.3f}in,{:.3f}in font \"Liberation "
      "Sans,10\" fontscale 0.75 linewidth 1 pointscale 0.6 background rgb "
      "\"white\"\n",
      plot.width, plot.height);
}

std::string script_text(const Plot& plot, FigureKind kind,
                        const std::string& output) {
  std::string text = "set encoding utf8\n" + terminal(plot, kind);
  text += fmt::format("set output \"{}\"\n", output);
  for (const auto& [name, lines] : plot.data) {
    text += fmt::format("${} << END_OF_DATA\n{}END_OF_DATA\n", name, lines);
  }
  return text + plot.script + "\nunset output\n";
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Runs gnuplot inside `folder`. Returns its exit status as waitpid() gives it.
int run_gnuplot(const fs::path& folder) {
  const std::string script = (folder / "script.gp").string();
  const std::string log = (folder / "log.txt").string();
  std::array<char*, 3> arguments = {const_cast<char*>("gnuplot"),
                                    const_cast<char*>(script.c_str()), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                   O_RDONLY, 0);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, stream, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  pid_t child = 0;
  const int error = posix_spawnp(&child, "gnuplot", &actions, nullptr,
                                 arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    throw InputError(
        "gnuplot",
        fmt::format("expected the program gnuplot to draw figures, found: {}; "
                    "install the package gnuplot-nox (Debian, Ubuntu)",
                    std::strerror(error)));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    WUSH_CHECK(errno == EINTR, "waitpid: {}", std::strerror(errno));
  }
  return status;
}

}  // namespace

FigureKind figure_kind(const std::filesystem::path& output) {
  const std::string extension = output.extension().string();
  if (extension == ".svg") return FigureKind::kSvg;
  if (extension == ".png") return FigureKind::kPng;
  if (extension == ".pdf") return FigureKind::kPdf;
  throw InputError(output.string(),
                   fmt::format("expected a name that ends in .svg, .png or "
                               ".pdf, found \"{}\"",
                               extension));
}

std::string draw_plot(const Plot& plot, FigureKind kind) {
  const ScratchFolder folder;
  const fs::path drawing = folder.path() / "drawing";
  io::write_file_atomically(folder.path() / "script.gp",
                            script_text(plot, kind, drawing.string()));
  const int status = run_gnuplot(folder.path());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !fs::exists(drawing)) {
    std::string log = read_text(folder.path() / "log.txt");
    std::replace(log.begin(), log.end(), '\n', ' ');
    throw InputError(
        "gnuplot",
        fmt::format(
            "expected a drawing from gnuplot 5.4 or later, found status "
            "{} and: {}",
            status, log));
  }
  return read_text(drawing);
}

std::string plot_color(std::size_t index) {
  static constexpr std::array<std::string_view, 10> kColors = {
      "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
      "#56B4E9", "#5B4A9E", "#8C8C00", "#000000", "#999999"};
  return std::string(kColors[index % kColors.size()]);
}

std::string plot_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"') {
      out += "\\\"";
    } else if (c == '\\') {
      out += "\\\\\\\\";
    } else if (std::string_view("{}^_@&~").find(c) != std::string_view::npos) {
      out += "\\\\";
      out += c;
    } else {
      out += c == '\n' ? ' ' : c;
    }
  }
  return out;
}

}  // namespace wush
