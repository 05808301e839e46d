#!/usr/bin/env bash
# deps.sh GROUP...: installs the Debian packages of these groups that are missing, and says which. With nothing missing
# it takes no privilege, no network and a tenth of a second.
set -euo pipefail

declare -A packages=(
  [build]="g++ cmake ninja-build pkg-config libcurl4-openssl-dev libssl-dev libboost1.81-dev libsimdjson-dev libprotozero-dev
           nlohmann-json3-dev libxxhash-dev libyaml-cpp-dev libcli11-dev libspdlog-dev prometheus-cpp-dev libcpp-httplib-dev"
  [test]="doctest-dev python3 python3-xxhash python3-yaml openssl libfaketime util-linux ca-certificates
          wrk nghttp2-client ccache"
  [lint]="clang-format-19 clang-tidy-19 clang-19 python3 git"
  [fuzz]="clang-19 libclang-rt-19-dev"
  [bench]="libbenchmark-dev"
  [coverage]="gcovr"
)

usage() {
  echo "usage: deps.sh GROUP..., of: ${!packages[*]}" >&2
  exit 2
}

(($# > 0)) || usage
wanted=()
for group in "$@"; do
  [[ -n ${packages[$group]:-} ]] || usage
  read -r -d '' -a names <<<"${packages[$group]}" || true
  wanted+=("${names[@]}")
  # tests/e2e/binaries.py builds the control plane with any Go; Debian's fetches a newer one.
  if [[ $group == test && -z ${KUBEBUILDER_ASSETS:-} ]] && ! command -v go >/dev/null; then
    wanted+=(golang-go)
  fi
done

declare -A installed=()
while read -r status name; do
  [[ $status == ii ]] && installed[${name%%:*}]=1
done < <(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n')

missing=()
for name in "${wanted[@]}"; do
  [[ -n ${installed[$name]:-} || " ${missing[*]} " == *" $name "* ]] || missing+=("$name")
done
((${#missing[@]} > 0)) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "deps.sh: missing: ${missing[*]}; there is no sudo: install them as root" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "deps.sh: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
  if ! "$@" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "deps.sh: failed: $*" >&2
    exit 1
  fi
}
# An unreachable list of somebody's third source is no reason to stop: what matters is whether the install succeeds.
"${as_root[@]}" apt-get update -qq >"$log" 2>&1 || tail -n 5 "$log" >&2
quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  -o DPkg::Lock::Timeout=300 "${missing[@]}"
