#include "analysis/html.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

namespace wush {
namespace {

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 4rem;
  font: 16px/1.5 system-ui, "Liberation Sans", sans-serif; color: #1a1a1a;
  background: #fff; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; padding-top: 0.5rem;
  border-top: 1px solid #d0d0d0; }
h3 { font-size: 1rem; margin: 1.25rem 0 0.4rem; }
nav { font-size: 0.9rem; margin: 0.75rem 0; }
nav a { display: inline-block; margin-right: 0.9rem; }
a { color: #0057a8; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.84rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ececec; }
th { border-bottom: 2px solid #555; vertical-align: bottom; }
th.left, td.left { text-align: left; }
tr.rule td { border-top: 1px solid #999; }
td.best { font-weight: 700; background: #e6f3ea; }
ul.notes { font-size: 0.86rem; color: #444; padding-left: 1.1rem;
  overflow-wrap: anywhere; }
ul.notes li.missing { color: #8a3b00; }
p.source { font-size: 0.86rem; color: #444; margin: 0.2rem 0; }
pre { font-size: 0.8rem; background: #f6f6f6; padding: 0.75rem;
  overflow-x: auto; }
summary { cursor: pointer; }
figure { margin: 1rem 0; }
figure svg { display: block; max-width: 100%; min-width: 34rem; height: auto; }
figcaption { font-size: 0.9rem; color: #333; }
@media (max-width: 40rem) {
  body { padding: 0.5rem 0.75rem 3rem; font-size: 15px; }
  h1 { font-size: 1.3rem; }
}
@media print { .scroll { overflow: visible; } figure { break-inside: avoid; } }
)css";

std::string alignment(const Column& column) {
  return column.align == Column::Align::kLeft ? " class=\"left\"" : "";
}

std::string table_head(const Table& table, const std::vector<bool>& used) {
  std::string out = "<thead><tr>";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (!used[c]) continue;
    out += fmt::format("<th{}>{}</th>", alignment(table.columns[c]),
                       html_escape(table.columns[c].title));
  }
  return out + "</tr></thead>\n";
}

std::string table_body(const Table& table, const Section& section,
                       const std::vector<bool>& used) {
  const auto marks = best_marks(table, section);
  std::string out = "<tbody>\n";
  for (std::size_t r = 0; r < section.rows.size(); ++r) {
    const Row& row = section.rows[r];
    const bool rule = r > 0 && row.group != section.rows[r - 1].group;
    out += rule ? "<tr class=\"rule\">" : "<tr>";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (!used[c]) continue;
      out += fmt::format(
          "<td{}>{}</td>",
          marks[r][c] ? " class=\"best\"" : alignment(table.columns[c]),
          html_escape(printed_value(row.values[c])));
    }
    out += "</tr>\n";
  }
  return out + "</tbody>\n";
}

// Replaces every `from` by `to`.
void replace_all(std::string& text, std::string_view from,
                 const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

std::string html_escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_table(const Table& table) {
  std::string out;
  for (const Section& section : table.sections) {
    if (section.rows.empty()) continue;
    if (!section.title.empty()) {
      out += "<h3>" + html_escape(section.title) + "</h3>\n";
    }
    const std::vector<bool> used = used_columns(table, section);
    out += "<div class=\"scroll\"><table>\n" + table_head(table, used) +
           table_body(table, section, used) + "</table></div>\n";
  }
  out += "<ul class=\"notes\">\n";
  for (const std::string& note : table.notes) {
    out += "<li>" + html_escape(note) + "</li>\n";
  }
  for (const std::string& missing : table.missing) {
    out += "<li class=\"missing\">Missing: " + html_escape(missing) + "</li>\n";
  }
  return out + "</ul>\n";
}

std::string html_svg(const std::string& svg, const std::string& prefix) {
  const std::size_t begin = svg.find("<svg");
  std::string out =
      begin == std::string::npos ? std::string() : svg.substr(begin);
  for (const char quote : {'\'', '"'}) {
    replace_all(out, fmt::format(" id={}", quote),
                fmt::format(" id={}{}-", quote, prefix));
    replace_all(out, fmt::format("href={}#", quote),
                fmt::format("href={}#{}-", quote, prefix));
  }
  replace_all(out, "url(#", fmt::format("url(#{}-", prefix));
  return out;
}

std::string html_page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n</head>\n"
      "<body>\n{}</body>\n</html>\n",
      html_escape(title), kStyle, body);
}

}  // namespace wush
