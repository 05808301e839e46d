#!/usr/bin/env bash
# deps.sh GROUP...: installs the Debian packages of these groups that are missing, and says which. With nothing missing
# it takes no privilege, no network and a tenth of a second. Debian 12 and 13 have all of them.
#
# SHARDER_DEPS=installed: it does nothing, for a system without apt or with libraries of your own; CMake then says what it
# does not find.
set -euo pipefail

# NAME, or NAME>=VERSION where an older one is of no use; A|B: the first of them that this system has.
declare -A packages=(
  [build]="g++>=4:12 cmake>=3.25 ninja-build pkg-config libcurl4-openssl-dev libssl-dev libboost-dev>=1.81|libboost1.81-dev
           libsimdjson-dev libprotozero-dev nlohmann-json3-dev libxxhash-dev libyaml-dev libzstd-dev zlib1g-dev libspdlog-dev
           prometheus-cpp-dev libcpp-httplib-dev ccache"
  [run]="python3 python3-xxhash python3-yaml openssl libfaketime util-linux ca-certificates"
  [test]="doctest-dev wrk nghttp2-client python3-venv"
  [browser]="chromium fonts-dejavu-core"
  [lint]="clang-format-19 clang-tidy-19 clang-19 python3 git"
  [fuzz]="clang-19 libclang-rt-19-dev"
  [bench]="libbenchmark-dev"
  [coverage]="gcovr"
  [release]="dpkg-dev"
  [docs]="python3 python3-venv"
  [kind]="docker-ce|docker.io debootstrap"
)
packages[test]+=" ${packages[run]}"

usage() {
  echo "usage: deps.sh GROUP..., of: ${!packages[*]}" >&2
  exit 2
}

fail() {
  echo "deps.sh: $*" >&2
  exit 1
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
[[ ${SHARDER_DEPS:-} != installed ]] || exit 0
system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}") || true
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  fail "${system:-this system} has no apt. Install what Debian calls: ${wanted[*]}; then SHARDER_DEPS=installed make ..."
fi

declare -A installed=() offered=()
# chosen VERSIONS WANTED: the first alternative of WANTED whose version in the array VERSIONS is new enough.
chosen() {
  local -n versions=$1
  local -a alternatives
  local one version
  IFS='|' read -r -a alternatives <<<"$2"
  for one in "${alternatives[@]}"; do
    version=${versions[${one%%>=*}]:-}
    [[ -n $version ]] || continue
    if [[ $one != *">="* ]] || dpkg --compare-versions "$version" ge "${one#*>=}"; then
      echo "${one%%>=*}"
      return
    fi
  done
  return 1
}

while read -r status name version; do
  [[ $status != ii ]] || installed[${name%%:*}]=$version
done < <(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package} ${Version}\n')
missing=()
for one in "${wanted[@]}"; do
  [[ " ${missing[*]} " == *" $one "* ]] || chosen installed "$one" >/dev/null || missing+=("$one")
done
((${#missing[@]} > 0)) || exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || fail "missing: ${missing[*]}; there is no sudo: install them as root"
  as_root=(sudo)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# An unreachable list of somebody's third source is no reason to stop: what matters is whether the install succeeds.
"${as_root[@]}" apt-get update -qq >"$log" 2>&1 || tail -n 5 "$log" >&2

IFS='|' read -r -a alternatives <<<"$(IFS='|' && echo "${missing[*]}")"
while read -r name version; do
  [[ $version == "(none)" ]] || offered[$name]=$version
done < <(LC_ALL=C apt-cache policy "${alternatives[@]%%>=*}" | sed -n '/^[^ ]/{s/:$//;h}; /^  Candidate: /{s///;H;x;s/\n/ /p}')
names=() unknown=()
for one in "${missing[@]}"; do
  if name=$(chosen offered "$one"); then names+=("$name"); else unknown+=("$one"); fi
done
if ((${#unknown[@]} > 0)); then
  fail "${system:-this system} does not offer ${unknown[*]}; Debian 12 and 13 do"
fi

echo "deps.sh: installing ${names[*]}"
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${names[@]}" >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  fail "apt-get install ${names[*]} failed"
fi
