#!/usr/bin/env bash
# image.sh: builds the image of the sharder and prints what makes up its size. From the environment:
#   TARGET        sharder (the default), or checksum-controller: the image of the example
#   IMAGE         its name (default: TARGET:VERSION)
#   BUILD_BASE    Debian 12 or 13, which it is built in (default: debian:12); scripts/base_image.sh makes one
#   RUNTIME_BASE  an image that its files are put on (default: none)
#   BUILD_FLAGS   further flags of docker build, such as "--network host"
#   CREATED, SOURCE   the labels "created" and "source" of the image
#   JOBS          compilers at a time
# Proxies of the environment (http_proxy, ...) are handed to the build, not to the image.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=45000000  # bytes, unpacked

fail() {
  echo "make image: $*" >&2
  exit 1
}

command -v docker >/dev/null ||
  fail "there is no docker command. On Debian: apt-get install docker.io; on others see docs.docker.com/engine/install"
docker version >/dev/null 2>&1 ||
  fail "no docker daemon answers. Start it, or name one with DOCKER_HOST. Or your user is not in the group docker"

version=$(sed -n 's/^project(sharder VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
[[ -n $version ]] || fail "CMakeLists.txt names no version"
commit=${SHARDER_COMMIT:-}
if [[ -z $commit && -e .git ]] && command -v git >/dev/null; then
  commit=$(git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null) || commit=
fi
target=${TARGET:-sharder}
image=${IMAGE:-$target:$version}

arguments=(--build-arg "VERSION=$version" --build-arg "SHARDER_COMMIT=${commit:-unknown}" --build-arg "JOBS=${JOBS:-}")
[[ -z ${BUILD_BASE:-} ]] || arguments+=(--build-arg "BUILD_BASE=$BUILD_BASE")
[[ -z ${RUNTIME_BASE:-} ]] || arguments+=(--build-arg "RUNTIME_BASE=$RUNTIME_BASE")
[[ -z ${CREATED:-} ]] || arguments+=(--label "org.opencontainers.image.created=$CREATED")
[[ -z ${SOURCE:-} ]] || arguments+=(--label "org.opencontainers.image.source=$SOURCE")
for proxy in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [[ -z ${!proxy:-} ]] || arguments+=(--build-arg "$proxy")
done
read -r -a flags <<<"${BUILD_FLAGS:-}"
if ! docker build "${flags[@]}" "${arguments[@]}" --target "$target" -t "$image" .; then
  base=${BUILD_BASE:-debian:12}
  docker image inspect "$base" >/dev/null 2>&1 ||
    fail "$base is not there. Where it cannot be pulled: make image BUILD_BASE=\$(scripts/base_image.sh)"
  fail "the build failed, see above. Where the build reaches no packages: make image BUILD_FLAGS=\"--network host\""
fi
scripts/image_size.sh "$image" "$limit"
echo "built $image"
