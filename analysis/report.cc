// One page with everything that the results of a sweep allow.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "analysis/cells.h"
#include "analysis/gnuplot.h"
#include "analysis/html.h"
#include "analysis/registry.h"
#include "lib/support/error.h"
#include "lib/support/io.h"

namespace wush {
namespace {

struct Part {
  std::string id;
  std::string link;  // in the list at the top
  std::string title;
  std::string html;
};

std::string file_names(const ResultSet& set) {
  std::string names;
  for (const ResultsFile& file : set.files) {
    if (!names.empty()) names += ", ";
    names += file.path.filename().string();
  }
  return names;
}

std::string provenance_rows(const std::map<std::string, std::string>& values) {
  std::string rows;
  for (const auto& [name, value] : values) {
    rows += fmt::format(
        "<tr><td class=\"left\">{}</td><td class=\"left\">{}"
        "</td></tr>\n",
        html_escape(name), html_escape(value));
  }
  return rows;
}

Part describe_file(const ResultsFile& file, std::size_t index) {
  const Results& results = file.results;
  std::size_t failed = 0;
  for (const StoredCell& cell : results.cells) {
    if (cell.result.status == CellStatus::kFailed) ++failed;
  }
  const std::string name = file.path.filename().string();
  std::string html = fmt::format(
      "<p>{} of {} planned cells, {} of them failed.</p>\n"
      "<details open><summary>Configuration, defaults filled in</summary>"
      "<pre>{}</pre></details>\n"
      "<details open><summary>Provenance</summary><div class=\"scroll\"><table>"
      "<tbody>\n{}</tbody></table></div></details>\n",
      results.cells.size(), file.plan.cells.size(), failed,
      html_escape(results.config), provenance_rows(results.provenance));
  return {fmt::format("file-{}", index), name, name, std::move(html)};
}

AnalysisRequest request_for(const AnalysisRequest& request,
                            const std::string& table) {
  AnalysisRequest own = request;
  if (table == "storage") own.inputs.clear();  // takes architectures
  return own;
}

Part table_part(const TableInfo& info, const AnalysisRequest& request) {
  const Table table = info.make(request_for(request, info.name));
  std::string html;
  if (table.row_count() == 0) html = "<p>These results hold none.</p>\n";
  return {"table-" + info.name, info.name, table.title,
          html + html_table(table)};
}

// The drawing, or the line that says why there is none.
Part figure_part(const FigureInfo& info, const AnalysisRequest& request) {
  Part part{"figure-" + info.name, "figure " + info.name,
            "Figure: " + info.name, ""};
  try {
    const std::string svg = draw_plot(info.make(request), FigureKind::kSvg);
    part.html = fmt::format(
        "<figure><div class=\"scroll\">{}</div><figcaption>{}</figcaption>"
        "</figure>\n",
        html_svg(svg, info.name), html_escape(info.description));
  } catch (const InputError& error) {
    part.html = fmt::format(
        "<p>{}</p><ul class=\"notes\"><li class=\"missing\">Not drawn: {}"
        "</li></ul>\n",
        html_escape(info.description), html_escape(error.what()));
  }
  return part;
}

std::string join_parts(const std::string& title,
                       const std::vector<Part>& parts) {
  std::string body = "<h1>" + html_escape(title) + "</h1>\n<nav>";
  for (const Part& part : parts) {
    body +=
        fmt::format("<a href=\"#{}\">{}</a> ", part.id, html_escape(part.link));
  }
  body += "</nav>\n";
  for (const Part& part : parts) {
    body += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n",
                        part.id, html_escape(part.title), part.html);
  }
  return body;
}

}  // namespace

std::filesystem::path write_report(const AnalysisRequest& request,
                                   const std::filesystem::path& folder) {
  if (request.inputs.empty()) {
    throw InputError("report",
                     "expected at least one results file, found none");
  }
  const ResultSet set = read_result_set(request.inputs);
  std::vector<Part> parts;
  for (std::size_t i = 0; i < set.files.size(); ++i) {
    parts.push_back(describe_file(set.files[i], i));
  }
  for (const TableInfo& info : table_registry()) {
    parts.push_back(table_part(info, request));
  }
  for (const FigureInfo& info : figure_registry()) {
    parts.push_back(figure_part(info, request));
  }
  const std::string title = "Results: " + file_names(set);
  io::make_directories(folder);
  const std::filesystem::path page = folder / "index.html";
  io::write_file_atomically(page, html_page(title, join_parts(title, parts)));
  return page;
}

}  // namespace wush
