#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests. Arguments go to
# ctest: `bash tests/run.sh -R experiment`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash experiments/install.sh
preset=cpu
if command -v nvcc > /dev/null; then preset=release; fi
cmake --preset "$preset" --log-level=WARNING
cmake --build --preset "$preset"
ctest --test-dir "build/$preset" --parallel 2 --output-on-failure "$@"
