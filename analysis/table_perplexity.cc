// Perplexity of every cell, with standard errors over windows and paired
// differences against a baseline.
#include <fmt/format.h>

#include <set>

#include "analysis/cells.h"
#include "analysis/published.h"
#include "analysis/tables.h"

namespace wush {
namespace {

constexpr char kDefaultBaseline[] = "transform=identity,method=rtn";
constexpr NumberStyle kPerplexityStyle{NumberStyle::Kind::kFixed, 3, 1};
constexpr NumberStyle kNllStyle{NumberStyle::Kind::kFixed, 4, 1};

std::vector<Column> measurement_columns() {
  return {{"windows", "windows"},
          {"perplexity", "perplexity", Column::Align::kRight,
           Column::Best::kLowest, true},
          {"perplexity_difference", "Δ perplexity", Column::Align::kRight,
           Column::Best::kNone, true},
          {"nll_difference", "Δ NLL, nats", Column::Align::kRight,
           Column::Best::kNone, true}};
}

// exp(mean a) - exp(mean b) with the standard error of paired windows: to first
// order a window w moves it by (exp(mean a) a_w - exp(mean b) b_w) / n.
std::optional<Estimate> perplexity_difference(const Perplexity& a,
                                              const Perplexity& b) {
  std::vector<double> scaled_a;
  std::vector<double> scaled_b;
  for (const double nll : a.window_nll) scaled_a.push_back(a.value * nll);
  for (const double nll : b.window_nll) scaled_b.push_back(b.value * nll);
  const auto paired = paired_difference(scaled_a, scaled_b);
  if (!paired) return std::nullopt;
  return Estimate{a.value - b.value, paired->standard_error};
}

Value difference_value(const std::optional<Estimate>& difference,
                       const NumberStyle& style) {
  if (!difference) return {};
  return Number{difference->mean, difference->standard_error, style};
}

Row make_row(const ResultSet& set, const StoredCell& cell,
             const ParameterColumns& parameters, const Baseline& baseline) {
  const CellResult& result = cell.result;
  const Perplexity& perplexity = *result.perplexity;
  Row row{parameters.values(result.parameters),
          result.parameters.model + " " + result.parameters.format,
          !is_reference(cell)};
  row.values.emplace_back(
      static_cast<std::int64_t>(perplexity.window_nll.size()));
  row.values.emplace_back(
      Number{perplexity.value, perplexity.standard_error, kPerplexityStyle});
  const StoredCell* other = baseline.find(set.cells, cell);
  if (other == nullptr || !other->result.perplexity ||
      other->result.perplexity->length != perplexity.length) {
    row.values.resize(row.values.size() + 2);
    return row;
  }
  const Perplexity& reference = *other->result.perplexity;
  row.values.push_back(difference_value(
      perplexity_difference(perplexity, reference), kPerplexityStyle));
  row.values.push_back(difference_value(
      paired_difference(perplexity.window_nll, reference.window_nll),
      kNllStyle));
  return row;
}

void add_published(const ParameterColumns& parameters, Table& table) {
  for (const PublishedTable& published : published_perplexities()) {
    Section section{
        "published", "Published: WikiText-2 perplexity", published.source, {}};
    for (const PublishedRow& from : published.rows) {
      if (!from.values[0]) continue;
      Row row{parameters.values(from.model, from.format, from.transform,
                                from.method),
              from.model + " " + from.format,
              from.format.starts_with("w4") || from.format == "nvfp4"};
      row.values.emplace_back();
      row.values.emplace_back(
          Number{*from.values[0], std::nullopt, kPerplexityStyle});
      row.values.resize(row.values.size() + 2);
      section.rows.push_back(std::move(row));
    }
    table.sections.push_back(std::move(section));
    table.notes.push_back("Published rows are not results of this program: " +
                          published.source + ".");
  }
}

std::string protocol_note(const ResultSet& set) {
  std::set<std::int64_t> lengths;
  for (const StoredCell& cell : set.cells) {
    if (cell.result.perplexity) lengths.insert(cell.result.perplexity->length);
  }
  std::string text;
  for (const std::int64_t length : lengths) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", length);
  }
  return fmt::format(
      "Protocol: non-overlapping windows of {} tokens, exp of the mean over "
      "windows of the mean NLL of the next-token targets. ± is one standard "
      "error over windows.",
      text);
}

bool has_perplexity(const CellResult& result) {
  return result.perplexity.has_value();
}

}  // namespace

Table make_perplexity_table(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const ParameterColumns parameters(set.cells);
  const Baseline baseline(request.baseline.empty() ? kDefaultBaseline
                                                   : request.baseline);
  Table table{"perplexity",
              "Perplexity",
              parameters.columns(),
              {},
              set.notes,
              missing_measurements(set, "perplexity", has_perplexity)};
  for (Column& column : measurement_columns()) {
    table.columns.push_back(std::move(column));
  }
  Section section{"perplexity", "", "results", {}};
  for (const StoredCell& cell : set.cells) {
    if (cell.result.perplexity) {
      section.rows.push_back(make_row(set, cell, parameters, baseline));
    }
  }
  if (!section.rows.empty()) {
    table.notes.push_back(protocol_note(set));
    table.notes.push_back(
        baseline_note(baseline, section, table.columns.size() - 1));
    table.sections.push_back(std::move(section));
  }
  if (request.published) add_published(parameters, table);
  for (std::string& note : record_notes(set.cells, parameters.options())) {
    table.notes.push_back(std::move(note));
  }
  return table;
}

}  // namespace wush
