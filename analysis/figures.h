// The figures, one file each; analysis/registry.cc lists them. Each makes what
// gnuplot is to draw; nothing is written here.
#pragma once

#include "analysis/gnuplot.h"
#include "analysis/registry.h"

namespace wush {

Plot make_toy_figure(const AnalysisRequest& request);
Plot make_speedup_figure(const AnalysisRequest& request);
Plot make_marginals_figure(const AnalysisRequest& request);
Plot make_equalization_figure(const AnalysisRequest& request);
Plot make_fp_model_figure(const AnalysisRequest& request);
Plot make_layers_figure(const AnalysisRequest& request);
Plot make_perplexity_figure(const AnalysisRequest& request);
Plot make_lambda_figure(const AnalysisRequest& request);

}  // namespace wush
