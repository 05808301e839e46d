#!/usr/bin/env bash
# base_image.sh [NAME:TAG]: makes a Debian image with debootstrap and `docker import`, for a machine that can pull no
# image, and prints its name (default: sharder-build-base:SUITE). It needs root, and pulls nothing:
#   make image BUILD_BASE=$(scripts/base_image.sh)
# An image of that name that is already there is taken; FORCE=1 makes it again.
#
#   DEBIAN_SUITE            bookworm (default) or trixie
#   DEBIAN_MIRROR           where its packages are, and
#   DEBIAN_SECURITY_MIRROR  its security updates; the defaults are Debian's own
#
# The image reaches the packages as this machine does: it gets the proxies and the checks of this machine's apt. So use it
# only to build with, and do not publish it. Nothing of it gets into the image of the sharder but the libraries that it needs.
set -euo pipefail

suite=${DEBIAN_SUITE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
security_mirror=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
name=${1:-sharder-build-base:$suite}

fail() {
  echo "base_image.sh: $*" >&2
  exit 1
}

command -v docker >/dev/null || fail "there is no docker command. On Debian: apt-get install docker.io"
docker version >/dev/null 2>&1 || fail "no docker daemon answers. Start it, or name one that runs with DOCKER_HOST"
if [[ -z ${FORCE:-} ]] && docker image inspect "$name" >/dev/null 2>&1; then
  echo "$name"
  exit 0
fi
((EUID == 0)) || fail "debootstrap needs root: run it with sudo, then make image BUILD_BASE=$name"
if ! command -v debootstrap >/dev/null; then
  command -v apt-get >/dev/null || fail "there is no debootstrap: install it"
  echo "base_image.sh: installing debootstrap" >&2
  apt-get update -qq >&2 || true  # the list of a third source may be out of reach
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null ||
    fail "apt-get install debootstrap failed"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
echo "base_image.sh: debootstrap $suite" >&2
if ! debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror" >"$work/log" 2>&1; then
  tail -n 20 "$work/log" >&2
  fail "debootstrap $suite failed; DEBIAN_MIRROR names another mirror than $mirror"
fi
printf '%s\n' "deb $mirror $suite main" "deb $mirror $suite-updates main" "deb $security_mirror $suite-security main" \
  >"$root/etc/apt/sources.list"
if command -v apt-config >/dev/null; then
  apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90machine" || true
fi
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/dev/* "$root"/proc/* "$root"/sys/*
tar -C "$root" -c . | docker import -c 'CMD ["bash"]' - "$name" >/dev/null
echo "$name"
