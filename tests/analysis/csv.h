// A reader of comma-separated values, for comparing what is printed with what
// is stored.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace wush::testing {

using CsvRow = std::map<std::string, std::string>;

// Rows by column name. Fields may be quoted (RFC 4180).
inline std::vector<CsvRow> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> lines(1, {""});
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
        lines.back().back() += text[++i];
      } else if (c == '"') {
        quoted = false;
      } else {
        lines.back().back() += c;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      lines.back().emplace_back();
    } else if (c == '\n') {
      lines.push_back({""});
    } else {
      lines.back().back() += c;
    }
  }
  lines.pop_back();  // what follows the last newline
  std::vector<CsvRow> rows;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    CsvRow row;
    for (std::size_t c = 0; c < lines[0].size(); ++c) {
      row[lines[0][c]] = lines[i].at(c);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace wush::testing
