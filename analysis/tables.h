// The tables, one file each; analysis/registry.cc lists them.
#pragma once

#include "analysis/registry.h"
#include "analysis/table.h"

namespace wush {

Table make_layers_table(const AnalysisRequest& request);
Table make_accuracy_table(const AnalysisRequest& request);
Table make_perplexity_table(const AnalysisRequest& request);
Table make_kl_table(const AnalysisRequest& request);
Table make_cost_table(const AnalysisRequest& request);
Table make_storage_table(const AnalysisRequest& request);
Table make_speedup_table(const AnalysisRequest& request);

}  // namespace wush
