#!/usr/bin/env bash
# Installs the Debian/Ubuntu packages that building, testing and plotting need,
# those that are missing only. Runs as root or with a sudo that asks nothing.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config ccache clang-format git ca-certificates
  libeigen3-dev libopenblas-dev liblapacke-dev libhdf5-dev libyaml-cpp-dev libfmt-dev
  nlohmann-json3-dev libcli11-dev libonig-dev libutf8proc-dev libssl-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  hdf5-tools gnuplot-nox python3
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  as_root=(env)
elif sudo -n true 2>/dev/null; then
  as_root=(sudo -n env)
else
  echo "install.sh: neither root nor sudo without a password; please install: ${missing[*]}" >&2
  exit 1
fi
echo "installing: ${missing[*]}"
"${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  "${missing[@]}"
