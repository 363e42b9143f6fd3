// Numbers that papers report, as data. They are facts to compare with and not
// results of this program; every table that shows them says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/checkpoint/config.h"

namespace wush {

// A row of a published table: how a model was quantized, and its numbers under
// the columns of that table.
struct PublishedRow {
  std::string model;
  std::string format;     // "bf16" for the unquantized model
  std::string transform;  // or the name of another method, as published
  std::string method;     // rtn or gptq; empty where the paper names none
  std::vector<std::optional<double>> values;
};

struct PublishedTable {
  std::string source;  // paper and table
  std::vector<std::string> columns;
  std::vector<PublishedRow> rows;
};

// Table 1: mean squared error of each linear of one layer (not scaled by 1e3).
PublishedTable published_layers();

// Tables 2 and 3 (accuracy in percent, with average and recovery), 5 (average
// of two suites by calibration text), and the mean of the Platinum Benchmarks.
std::vector<PublishedTable> published_accuracies();

// Other papers' averages of their own task sets: not comparable with the above.
std::vector<PublishedTable> published_other_accuracies();

// Table 4: KL divergence in nats.
PublishedTable published_kl();

// WikiText-2 perplexities that other papers report.
std::vector<PublishedTable> published_perplexities();

// Table 6: columns minutes and gigabytes; the format holds the GPU's name.
PublishedTable published_costs();

// Figure 2: speedup over bf16 of one linear at M = 1024, mxfp4.
struct PublishedSpeedup {
  std::string model;
  std::int64_t outputs = 0;  // N
  std::int64_t inputs = 0;   // K
  double matmul = 0;         // the FP4 matmul alone
  double hadamard = 0;       // with hadamard and quantization before it
  double wush = 0;           // with wush and quantization before it
};
std::vector<PublishedSpeedup> published_speedups();
std::string published_speedup_source();

// Table 7: the stored transforms in percent of the checkpoint, with the
// architecture (only what storage depends on is filled in).
struct PublishedStorage {
  std::string model;
  ModelConfig config;
  std::optional<double> mxfp4_percent;
  std::optional<double> nvfp4_percent;
};
std::vector<PublishedStorage> published_storage();
std::string published_storage_source();

}  // namespace wush
