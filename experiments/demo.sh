#!/usr/bin/env bash
# From a fresh clone to tables: installs what is missing, builds the program,
# runs configs/demo.yaml on the embedded model and prints its tables. Arguments
# go to `wush run`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash experiments/install.sh
preset=cpu
if command -v nvcc > /dev/null; then preset=release; fi
cmake --preset "$preset" --log-level=WARNING
cmake --build --preset "$preset" --target wush

wush=build/$preset/bin/wush
code=0
"$wush" run configs/demo.yaml "$@" || code=$?
# 1: some cells failed; the tables show the others.
[ "$code" -le 1 ] || exit "$code"
for table in layers perplexity kl; do
  echo
  "$wush" table "$table" results/demo.h5
done
exit "$code"
