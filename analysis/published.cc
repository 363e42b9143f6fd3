#include "analysis/published.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <string_view>

#include "analysis/published_data.h"
#include "lib/checkpoint/architectures.h"
#include "lib/support/error.h"

namespace wush {
namespace {

// The files are part of the program, so a key that is not there is a mistake of
// ours and not of the user's.
YAML::Node child(const YAML::Node& node, const std::string& key) {
  const YAML::Node found = node[key];
  WUSH_CHECK(found.IsDefined(), "published data: no key {}", key);
  return found;
}

YAML::Node wush_paper() {
  return YAML::Load(std::string(published_wush_yaml()));
}

YAML::Node other_papers() {
  return YAML::Load(std::string(published_others_yaml()));
}

std::string wush_source(std::string_view what) {
  return fmt::format("published: WUSH, {}, {}",
                     child(wush_paper(), "source").as<std::string>(), what);
}

std::vector<std::optional<double>> numbers(const YAML::Node& node,
                                           double scale = 1) {
  std::vector<std::optional<double>> values;
  if (node.IsScalar()) return {node.as<double>() * scale};
  for (const YAML::Node& item : node) {
    if (item.IsNull()) {
      values.emplace_back();
    } else {
      values.emplace_back(item.as<double>() * scale);
    }
  }
  return values;
}

// "gptq-wush" is solver and transform; any other name is a method of its own.
PublishedRow named_row(const std::string& model, const std::string& format,
                       const std::string& name, const YAML::Node& values) {
  PublishedRow row{model, format, name, "", numbers(values)};
  for (const std::string_view solver : {"rtn", "gptq"}) {
    if (name == solver) {
      row.transform = "identity";
      row.method = name;
    } else if (name.starts_with(std::string(solver) + "-")) {
      row.transform = name.substr(solver.size() + 1);
      row.method = solver;
    }
  }
  return row;
}

// {nvfp4: {rtn-wush: ...}, mxfp4: {...}} into rows, after an optional bf16.
void append_formats(const std::string& model, const YAML::Node& node,
                    std::vector<PublishedRow>& rows) {
  if (node["bf16"].IsDefined()) {
    rows.push_back({model, "bf16", "", "", numbers(node["bf16"])});
  }
  for (const std::string format : {"mxfp4", "nvfp4", "int4"}) {
    for (const auto& entry : node[format]) {
      rows.push_back(named_row(model, format, entry.first.as<std::string>(),
                               entry.second));
    }
  }
}

PublishedTable calibration_sensitivity(const YAML::Node& node) {
  PublishedTable table{
      wush_source("table 5, Qwen3-8B mxfp4 by calibration text"),
      {"LM harness average", "Platinum average"},
      {}};
  for (const auto& solver : node) {
    for (const auto& text : solver.second) {
      table.rows.push_back({"Qwen3-8B, " + text.first.as<std::string>(),
                            "mxfp4", "wush", solver.first.as<std::string>(),
                            numbers(text.second)});
    }
  }
  return table;
}

PublishedTable platinum_averages(const YAML::Node& node) {
  PublishedTable table{
      wush_source("mean of 13 Platinum Benchmarks"), {"Average"}, {}};
  for (const auto& model : node) {
    const std::string name = model.first.as<std::string>();
    for (const auto& entry : model.second) {
      const std::string key = entry.first.as<std::string>();
      const std::size_t dash = key.find('-');
      if (dash == std::string::npos) {
        table.rows.push_back({name, key, "", "", numbers(entry.second)});
      } else {
        table.rows.push_back(named_row(name, key.substr(0, dash),
                                       key.substr(dash + 1), entry.second));
      }
    }
  }
  return table;
}

}  // namespace

PublishedTable published_layers() {
  const YAML::Node node = child(wush_paper(), "table1");
  const std::string model = child(node, "model").as<std::string>();
  PublishedTable table{wush_source("table 1, block 18, FineWeb-Edu"),
                       child(node, "columns").as<std::vector<std::string>>(),
                       {}};
  for (const std::string format : {"mxfp4", "nvfp4", "int4"}) {
    for (const auto& entry : child(node, format)) {
      table.rows.push_back({model, format, entry.first.as<std::string>(), "rtn",
                            numbers(entry.second, 1e-3)});
    }
  }
  return table;
}

std::vector<PublishedTable> published_accuracies() {
  const YAML::Node paper = wush_paper();
  const YAML::Node table2 = child(paper, "table2");
  std::vector<PublishedTable> tables;
  tables.push_back({wush_source("table 2, LM Evaluation Harness"),
                    child(table2, "columns").as<std::vector<std::string>>(),
                    {}});
  append_formats(child(table2, "model").as<std::string>(), table2,
                 tables.back().rows);
  tables.push_back(
      {wush_source("table 3, LM Evaluation Harness"),
       {"MMLU", "GSM8K", "HellaSwag", "WinoGrande", "Average", "Recovery"},
       {}});
  for (const auto& model : child(paper, "table3")) {
    append_formats(model.first.as<std::string>(), model.second,
                   tables.back().rows);
  }
  tables.push_back(calibration_sensitivity(child(paper, "table5")));
  tables.push_back(platinum_averages(child(paper, "platinum_average")));
  return tables;
}

std::vector<PublishedTable> published_other_accuracies() {
  const YAML::Node papers = other_papers();
  PublishedTable kbbq{
      "published: KBBQ, average of five tasks", {"Average"}, {}};
  for (const auto& model : child(papers, "kbbq")) {
    for (const auto& format : model.second) {
      const std::array<std::array<const char*, 2>, 4> names = {
          {{"rtn", "wush"},
           {"rtn", "kbbq"},
           {"gptq", "wush"},
           {"gptq", "kbbq"}}};
      for (std::size_t i = 0; i < names.size(); ++i) {
        kbbq.rows.push_back({model.first.as<std::string>(),
                             format.first.as<std::string>(),
                             names[i][1],
                             names[i][0],
                             {format.second[i].as<double>()}});
      }
    }
  }
  PublishedTable osfp4{
      "published: NVFP4 scale optimisation, mean of four tasks",
      {"Average"},
      {}};
  for (const auto& entry : child(papers, "osfp4")) {
    const std::string name = entry.first.as<std::string>();
    PublishedRow row =
        named_row("Llama-3.1-8B-Instruct", name == "bf16" ? "bf16" : "nvfp4",
                  name, entry.second);
    if (name == "bf16") row.transform.clear();
    row.values.resize(1);
    osfp4.rows.push_back(row);
  }
  return {kbbq, osfp4};
}

PublishedTable published_kl() {
  const YAML::Node node = child(wush_paper(), "table4");
  PublishedTable table{wush_source("table 4, C4"), {"kl"}, {}};
  append_formats(child(node, "model").as<std::string>(), node, table.rows);
  return table;
}

std::vector<PublishedTable> published_perplexities() {
  const YAML::Node papers = other_papers();
  const YAML::Node ruquant = child(papers, "ruquant");
  const auto models = child(ruquant, "columns").as<std::vector<std::string>>();
  PublishedTable table{
      "published: RUQuant, arXiv 2604.04013, WikiText-2, per-token and "
      "per-channel integers with quantized Q, K and V",
      {"perplexity"},
      {}};
  for (std::size_t i = 0; i < models.size(); ++i) {
    table.rows.push_back(
        {models[i], "fp16", "", "", {numbers(child(ruquant, "fp16"))[i]}});
    for (const std::string format : {"w4a4", "w6a6"}) {
      for (const auto& entry : child(ruquant, format)) {
        table.rows.push_back({models[i],
                              format,
                              entry.first.as<std::string>(),
                              "",
                              {numbers(entry.second)[i]}});
      }
    }
  }
  PublishedTable osfp4{
      "published: NVFP4 scale optimisation, WikiText-2, native engine",
      {"perplexity"},
      {}};
  for (const auto& entry : child(papers, "osfp4")) {
    const std::string name = entry.first.as<std::string>();
    PublishedRow row =
        named_row("Llama-3.1-8B-Instruct", name == "bf16" ? "bf16" : "nvfp4",
                  name, entry.second);
    if (name == "bf16") row.transform.clear();
    row.values.erase(row.values.begin());
    osfp4.rows.push_back(row);
  }
  return {table, osfp4};
}

PublishedTable published_costs() {
  PublishedTable table{
      wush_source("table 6, wush with rtn"), {"minutes", "gigabytes"}, {}};
  for (const auto& entry : child(wush_paper(), "table6")) {
    const YAML::Node& values = entry.second;
    table.rows.push_back({entry.first.as<std::string>(),
                          values[0].as<std::string>(),
                          "wush",
                          "rtn",
                          {values[1].as<double>(), values[2].as<double>()}});
  }
  return table;
}

std::vector<PublishedSpeedup> published_speedups() {
  std::vector<PublishedSpeedup> speedups;
  for (const auto& model : child(wush_paper(), "figure2")) {
    for (const auto& shape : model.second) {
      const std::string key = shape.first.as<std::string>();
      const std::size_t cross = key.find('x');
      speedups.push_back(
          {model.first.as<std::string>(), std::stoll(key.substr(0, cross)),
           std::stoll(key.substr(cross + 1)), shape.second[0].as<double>(),
           shape.second[1].as<double>(), shape.second[2].as<double>()});
    }
  }
  return speedups;
}

std::string published_speedup_source() {
  return wush_source("figure 2, RTX 5090, M = 1024, mxfp4");
}

std::vector<PublishedStorage> published_storage() {
  const YAML::Node paper = wush_paper();
  const YAML::Node percentages = child(paper, "table7");
  std::vector<PublishedStorage> models;
  for (const std::string& model : known_architectures()) {
    PublishedStorage storage{model, *known_architecture(model), std::nullopt,
                             std::nullopt};
    if (const YAML::Node values = percentages[model]; values.IsDefined()) {
      storage.mxfp4_percent = values[0].as<double>();
      storage.nvfp4_percent = values[1].as<double>();
    }
    models.push_back(storage);
  }
  return models;
}

std::string published_storage_source() { return wush_source("table 7"); }

}  // namespace wush
