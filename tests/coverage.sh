#!/usr/bin/env bash
# Line coverage of what reads and keeps files: lib/{checkpoint,text,support,results,
# experiment}. Builds those with coverage counters in build/coverage, runs their tests and the
# fuzz corpora, prints a line for every file and the total, and fails below 95 %.
# An argument is a regular expression of files whose missed lines are listed too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly build=build/coverage
readonly rooms='lib/(checkpoint|text|support|results|experiment)/'
programs=(test_checkpoint test_text test_support_storage test_support_json test_results
  test_experiment test_throughput)
for target in tests/fuzz/*_target.cc; do
  name=$(basename "$target" _target.cc)
  programs+=("fuzz_replay_$name")
done

bash experiments/install.sh
cmake -S . -B "$build" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Debug -DWUSH_CUDA=OFF \
  -DWUSH_COVERAGE=ON -DWUSH_BUILD_BENCHMARKS=OFF
ninja -C "$build" "${programs[@]}"
find "$build" -name '*.gcda' -delete
for program in "${programs[@]}"; do
  "$build/bin/$program" --gtest_brief=1 ||
    { echo "coverage.sh: $program failed" >&2; exit 1; }
done

# Every translation unit counts the lines of the headers that it includes, so the counts of a
# line are added up. gcov is that of the compiler.
gcov=gcov-$(c++ -dumpversion | cut -d. -f1)
command -v "$gcov" > /dev/null || gcov=gcov
find "$build" -name '*.gcda' -print0 | sort -z |
  xargs -0 -n 1 "$gcov" --json-format --stdout 2> "$build/gcov.log" |
  python3 -c '
import collections, json, re, sys

rooms, listed = re.compile(sys.argv[1]), sys.argv[2]
root = sys.argv[3].rstrip("/") + "/"
hits = collections.defaultdict(collections.Counter)
for text in sys.stdin:
    for file in json.loads(text)["files"]:
        # Headers are found through the links of the build tree.
        name = re.sub(r"^.*/rooms/[a-z]+/", "", file["file"]).replace(root, "")
        if rooms.match(name):
            for line in file["lines"]:
                hits[name][line["line_number"]] += line["count"]

def row(name, covered, lines):
    print(f"{name:<44} {covered:6} of {lines:6} {100 * covered / lines:7.1f} %")

totals = collections.defaultdict(lambda: [0, 0])
for name, lines in sorted(hits.items()):
    covered = sum(count > 0 for count in lines.values())
    row(name, covered, len(lines))
    for key in (rooms.match(name).group(), "total"):
        totals[key][0] += covered
        totals[key][1] += len(lines)
    if listed and re.search(listed, name):
        missed = (str(line) for line, count in sorted(lines.items()) if not count)
        print("    missed:", *missed)
print()
for name, (covered, lines) in sorted(totals.items()):
    row(name, covered, lines)
covered, lines = totals["total"]
if lines == 0 or covered < 0.95 * lines:
    sys.exit("coverage.sh: less than 95 % of the lines are executed")
' "$rooms" "${1:-}" "$PWD"
