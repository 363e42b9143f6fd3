// Table 4: divergence from the unquantized model, with standard errors over
// windows and paired differences against a baseline.
#include "analysis/cells.h"
#include "analysis/published.h"
#include "analysis/tables.h"

namespace wush {
namespace {

constexpr char kDefaultBaseline[] = "transform=identity,method=rtn";
constexpr NumberStyle kKlStyle{NumberStyle::Kind::kFixed, 5, 1};
constexpr NumberStyle kPercentStyle{NumberStyle::Kind::kFixed, 2, 100};

std::vector<Column> measurement_columns() {
  return {
      {"windows", "windows"},
      {"kl", "KL, nats", Column::Align::kRight, Column::Best::kLowest, true},
      {"kl_difference", "Δ KL, nats", Column::Align::kRight,
       Column::Best::kNone, true},
      {"agreement", "equal argmax, %", Column::Align::kRight,
       Column::Best::kHighest, true}};
}

Row make_row(const ResultSet& set, const StoredCell& cell,
             const ParameterColumns& parameters, const Baseline& baseline) {
  const CellResult& result = cell.result;
  const Divergence& divergence = *result.divergence;
  Row row{parameters.values(result.parameters),
          result.parameters.model + " " + result.parameters.format,
          !is_reference(cell)};
  row.values.emplace_back(
      static_cast<std::int64_t>(divergence.window_kl.size()));
  row.values.emplace_back(
      Number{divergence.kl, divergence.kl_standard_error, kKlStyle});
  const StoredCell* other = baseline.find(set.cells, cell);
  std::optional<Estimate> difference;
  if (other != nullptr && other->result.divergence) {
    difference = paired_difference(divergence.window_kl,
                                   other->result.divergence->window_kl);
  }
  row.values.push_back(difference
                           ? Value{Number{difference->mean,
                                          difference->standard_error, kKlStyle}}
                           : Value{});
  Number agreement{divergence.agreement, std::nullopt, kPercentStyle};
  if (divergence.window_agreement.size() > 1) {
    agreement.standard_error =
        estimate(divergence.window_agreement).standard_error;
  }
  row.values.emplace_back(agreement);
  return row;
}

void add_published(const ParameterColumns& parameters, Table& table) {
  const PublishedTable published = published_kl();
  Section section{
      "published", "Published: KL divergence, nats", published.source, {}};
  for (const PublishedRow& from : published.rows) {
    Row row{
        parameters.values(from.model, from.format, from.transform, from.method),
        from.format};
    row.values.emplace_back();
    row.values.emplace_back(Number{*from.values[0], std::nullopt, kKlStyle});
    row.values.resize(row.values.size() + 2);
    section.rows.push_back(std::move(row));
  }
  table.sections.push_back(std::move(section));
  table.notes.push_back("Published rows are not results of this program: " +
                        published.source + ".");
}

// The unquantized model has no divergence from itself to measure.
bool has_divergence(const CellResult& result) {
  return result.divergence.has_value() || result.parameters.format == "none";
}

}  // namespace

Table make_kl_table(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const ParameterColumns parameters(set.cells);
  const Baseline baseline(request.baseline.empty() ? kDefaultBaseline
                                                   : request.baseline);
  Table table{"kl",
              "KL divergence from the unquantized model",
              parameters.columns(),
              {},
              set.notes,
              missing_measurements(set, "kl", has_divergence)};
  for (Column& column : measurement_columns()) {
    table.columns.push_back(std::move(column));
  }
  Section section{"kl", "", "results", {}};
  for (const StoredCell& cell : set.cells) {
    if (cell.result.divergence) {
      section.rows.push_back(make_row(set, cell, parameters, baseline));
    }
  }
  if (!section.rows.empty()) {
    table.notes.push_back(
        "Mean over tokens of KL(p_fp ‖ p_q); ± is one standard error over "
        "windows.");
    table.notes.push_back(
        baseline_note(baseline, section, table.columns.size() - 2));
    table.sections.push_back(std::move(section));
  }
  if (request.published || has_model(set, published_kl().rows[0].model)) {
    add_published(parameters, table);
  }
  for (std::string& note : record_notes(set.cells, parameters.options())) {
    table.notes.push_back(std::move(note));
  }
  return table;
}

}  // namespace wush
