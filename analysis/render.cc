// Every table leaves the program through here.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "analysis/table.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kDash = "–";

// ---------------------------------------------------------------- markdown

std::string markdown_escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '*' || c == '_' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

std::string markdown_section(const Table& table, const Section& section) {
  std::string out;
  if (!section.title.empty()) {
    out += "**" + markdown_escape(section.title) + "**\n\n";
  }
  const std::vector<bool> used = used_columns(table, section);
  std::vector<std::string> titles;
  std::vector<std::string> rules;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (!used[c]) continue;
    const Column& column = table.columns[c];
    titles.push_back(markdown_escape(column.title));
    rules.push_back(column.align == Column::Align::kLeft ? ":---" : "---:");
  }
  out += markdown_row(titles) + markdown_row(rules);
  const auto marks = best_marks(table, section);
  for (std::size_t r = 0; r < section.rows.size(); ++r) {
    std::vector<std::string> cells;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (!used[c]) continue;
      const std::string text =
          markdown_escape(printed_value(section.rows[r].values[c]));
      cells.push_back(marks[r][c] ? "**" + text + "**" : text);
    }
    out += markdown_row(cells);
  }
  return out + "\n";
}

std::string render_markdown(const Table& table) {
  std::string out = "### " + markdown_escape(table.title) + "\n\n";
  for (const Section& section : table.sections) {
    if (!section.rows.empty()) out += markdown_section(table, section);
  }
  for (const std::string& note : table.notes) {
    out += "- " + markdown_escape(note) + "\n";
  }
  for (const std::string& missing : table.missing) {
    out += "- Missing: " + markdown_escape(missing) + "\n";
  }
  return out;
}

// ------------------------------------------------------------------- LaTeX

std::string latex_escape(const std::string& text) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 24>
      kReplacements = {{{"\\", "\\textbackslash{}"},
                        {"{", "\\{"},
                        {"}", "\\}"},
                        {"&", "\\&"},
                        {"%", "\\%"},
                        {"$", "\\$"},
                        {"#", "\\#"},
                        {"_", "\\_"},
                        {"~", "\\textasciitilde{}"},
                        {"^", "\\textasciicircum{}"},
                        {"<", "\\textless{}"},
                        {">", "\\textgreater{}"},
                        {"|", "\\textbar{}"},
                        {"\"", "''"},
                        {"±", "$\\pm$"},
                        {"×", "$\\times$"},
                        {"–", "--"},
                        {"−", "$-$"},
                        {"λ", "$\\lambda$"},
                        {"Δ", "$\\Delta$"},
                        {"‖", "$\\|$"},
                        {"⁻", "$^{-}$"},
                        {"²", "$^{2}$"},
                        {"³", "$^{3}$"}}};
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    bool replaced = false;
    for (const auto& [from, to] : kReplacements) {
      if (text.compare(i, from.size(), from) == 0) {
        out += to;
        i += from.size();
        replaced = true;
        break;
      }
    }
    if (!replaced) out += text[i++];
  }
  return out;
}

std::string latex_row(const std::vector<std::string>& cells) {
  return fmt::format("{} \\\\\n", fmt::join(cells, " & "));
}

std::string latex_section(const Table& table, const Section& section) {
  const std::vector<bool> used = used_columns(table, section);
  std::string alignment;
  std::vector<std::string> titles;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (!used[c]) continue;
    const Column& column = table.columns[c];
    alignment += column.align == Column::Align::kLeft ? 'l' : 'r';
    titles.push_back(latex_escape(column.title));
  }
  std::string out;
  if (!section.title.empty()) {
    out += fmt::format("\\emph{{{}}}\\par\\smallskip\n",
                       latex_escape(section.title));
  }
  out += fmt::format("\\begin{{tabular}}{{{}}}\n\\toprule\n", alignment);
  out += latex_row(titles) + "\\midrule\n";
  const auto marks = best_marks(table, section);
  for (std::size_t r = 0; r < section.rows.size(); ++r) {
    if (r > 0 && section.rows[r].group != section.rows[r - 1].group) {
      out += "\\addlinespace\n";
    }
    std::vector<std::string> cells;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (!used[c]) continue;
      const std::string text =
          latex_escape(printed_value(section.rows[r].values[c]));
      cells.push_back(marks[r][c] ? "\\textbf{" + text + "}" : text);
    }
    out += latex_row(cells);
  }
  return out + "\\bottomrule\n\\end{tabular}\n\\par\\medskip\n";
}

std::string render_latex(const Table& table) {
  std::string out = "% needs \\usepackage{booktabs}\n\\begin{table}\n";
  out += "\\centering\\footnotesize\n";
  out += fmt::format("\\caption{{{}}}\n\\label{{tab:{}}}\n",
                     latex_escape(table.title), table.name);
  for (const Section& section : table.sections) {
    if (!section.rows.empty()) out += latex_section(table, section);
  }
  for (const std::string& note : table.notes) {
    out += "\\par\\smallskip\\raggedright " + latex_escape(note) + "\n";
  }
  for (const std::string& missing : table.missing) {
    out += "\\par\\smallskip\\raggedright Missing: " + latex_escape(missing) +
           "\n";
  }
  return out + "\\end{table}\n";
}

// --------------------------------------------------------------------- CSV

// Quoted when RFC 4180 asks for it.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string csv_value(const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) return "";
  if (const auto* number = std::get_if<Number>(&value)) {
    return fmt::format("{}", number->value);
  }
  return csv_field(printed_value(value));
}

std::string csv_error(const Value& value) {
  const auto* number = std::get_if<Number>(&value);
  if (number == nullptr || !number->standard_error) return "";
  return fmt::format("{}", *number->standard_error);
}

std::string render_csv(const Table& table) {
  std::vector<std::string> fields = {"section", "source"};
  for (const Column& column : table.columns) {
    fields.push_back(csv_field(column.key));
    if (column.has_error) fields.push_back(csv_field(column.key + "_stderr"));
  }
  std::string out = fmt::format("{}\n", fmt::join(fields, ","));
  for (const Section& section : table.sections) {
    for (const Row& row : section.rows) {
      fields = {csv_field(section.key), csv_field(section.source)};
      for (std::size_t c = 0; c < table.columns.size(); ++c) {
        fields.push_back(csv_value(row.values[c]));
        if (table.columns[c].has_error) {
          fields.push_back(csv_error(row.values[c]));
        }
      }
      out += fmt::format("{}\n", fmt::join(fields, ","));
    }
  }
  return out;
}

// -------------------------------------------------------------------- JSON

Json json_value(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* count = std::get_if<std::int64_t>(&value)) return *count;
  const auto* number = std::get_if<Number>(&value);
  if (number == nullptr || !std::isfinite(number->value)) return nullptr;
  return number->value;
}

Json json_error(const Value& value) {
  const auto* number = std::get_if<Number>(&value);
  if (number == nullptr || !number->standard_error ||
      !std::isfinite(*number->standard_error)) {
    return nullptr;
  }
  return *number->standard_error;
}

Json json_rows(const Table& table) {
  Json rows = Json::array();
  for (const Section& section : table.sections) {
    const auto marks = best_marks(table, section);
    for (std::size_t r = 0; r < section.rows.size(); ++r) {
      Json row = {{"section", section.key}, {"source", section.source}};
      Json best = Json::array();
      for (std::size_t c = 0; c < table.columns.size(); ++c) {
        const Column& column = table.columns[c];
        const Value& value = section.rows[r].values[c];
        row[column.key] = json_value(value);
        if (column.has_error) row[column.key + "_stderr"] = json_error(value);
        if (marks[r][c]) best.push_back(column.key);
      }
      row["best"] = best;
      rows.push_back(row);
    }
  }
  return rows;
}

std::string render_json(const Table& table) {
  Json columns = Json::array();
  for (const Column& column : table.columns) {
    columns.push_back({{"key", column.key}, {"title", column.title}});
  }
  const Json document = {{"name", table.name},   {"title", table.title},
                         {"columns", columns},   {"rows", json_rows(table)},
                         {"notes", table.notes}, {"missing", table.missing}};
  return document.dump(1) + "\n";
}

}  // namespace

std::string printed_value(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* count = std::get_if<std::int64_t>(&value)) {
    return fmt::format("{}", *count);
  }
  const auto* number = std::get_if<Number>(&value);
  if (number == nullptr) return std::string(kDash);
  std::string text = format_number(number->value, number->style);
  if (number->standard_error) {
    // The error is printed to the decimals of its value.
    const std::size_t point = text.find('.');
    NumberStyle style = number->style;
    style.kind = NumberStyle::Kind::kFixed;
    style.digits = point == std::string::npos
                       ? 0
                       : static_cast<int>(text.size() - point - 1);
    text += " ± " + format_number(*number->standard_error, style);
  }
  return text;
}

std::string render(const Table& table, TableFormat format) {
  for (const Section& section : table.sections) {
    for (const Row& row : section.rows) {
      WUSH_CHECK(row.values.size() == table.columns.size(),
                 "table {}, section {}: {} values under {} columns", table.name,
                 section.key, row.values.size(), table.columns.size());
    }
  }
  switch (format) {
    case TableFormat::kMarkdown:
      return render_markdown(table);
    case TableFormat::kLatex:
      return render_latex(table);
    case TableFormat::kCsv:
      return render_csv(table);
    case TableFormat::kJson:
      break;
  }
  return render_json(table);
}

}  // namespace wush
