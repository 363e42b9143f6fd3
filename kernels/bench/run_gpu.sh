#!/usr/bin/env bash
# Builds the CUDA kernels alone, runs every GPU test and benchmark, and records
# what was measured: the one command for a machine with a GPU.
#
#   kernels/bench/run_gpu.sh [--tests-only] [--sanitize] [--filter REGEX]
#
# Needs nvcc, CMake, Ninja, GoogleTest and Google Benchmark, nothing else.
# Results go to $OUT if it is set, else to results/measured/; the build to
# $WUSH_BUILD, else build-gpu/.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests_only=false sanitize=false filter=.
while (($#)); do
  case $1 in
    --tests-only) tests_only=true ;;
    --sanitize) sanitize=true ;;
    --filter) filter=$2; shift ;;
    *) echo "unknown argument: $1" >&2; exit 2 ;;
  esac
  shift
done
build=${WUSH_BUILD:-build-gpu}
out=${OUT:-results/measured}
mkdir -p "$out"

{
  cmake -S . -B "$build" -G Ninja -DWUSH_CUDA=ON -DWUSH_KERNELS_ONLY=ON \
    ${WUSH_CMAKE_ARGUMENTS:-}
  ninja -C "$build" test_kernels_cuda bench_kernels_cuda
} >"$out/build.log" 2>&1 || { tail -50 "$out/build.log"; exit 1; }

state() {
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.limit,power.draw \
    --format=csv
}
{
  echo "commit: ${WUSH_COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}"
  echo "date: $(date -u +%F)"
  nvcc --version | tail -2
  state
} >"$out/provenance.txt"

status=0
"$build/bin/test_kernels_cuda" --gtest_brief=1 >"$out/tests.txt" || status=$?
tail -5 "$out/tests.txt"
if $sanitize; then
  # Every kernel, on shapes small enough for the tools.
  cases='*Refusals*:*NotFinite*:*Odd*:*Extremes*:*Sanitize*:CudaQuantizeHadamard*'
  cases+=':CudaQuantizeTensorUnit*'
  : >"$out/sanitizers.txt"
  for tool in memcheck racecheck initcheck; do
    echo "== $tool" >>"$out/sanitizers.txt"
    compute-sanitizer --tool $tool --error-exitcode 9 \
      "$build/bin/test_kernels_cuda" --gtest_brief=1 --gtest_filter="$cases" \
      >>"$out/sanitizers.txt" 2>&1 || status=$?
    tail -1 "$out/sanitizers.txt"
  done
fi
if ! $tests_only; then
  "$build/bin/bench_kernels_cuda" --benchmark_filter="$filter" \
    --benchmark_out="$out/benchmarks.json" --benchmark_out_format=json \
    >"$out/benchmarks.txt" 2>&1 || status=$?
  state >>"$out/provenance.txt"
fi
exit $status
