#!/usr/bin/env bash
# release.sh: makes the files of a release from `make build`, in build/release-VERSION, and signs them:
#   sharder-VERSION-linux-MACHINE.tar.gz, sharder_VERSION_ARCHITECTURE.deb, SHA256SUMS; and the library for controllers:
#   libsharder-shard0.1_VERSION_ARCHITECTURE.deb, libsharder-dev_VERSION_ARCHITECTURE.deb
# `make release` builds first. From the environment:
#   COSIGN_KEY   private key of `cosign generate-key-pair`: signs SHA256SUMS (SHA256SUMS.sig; sharder.pub checks it)
#   IMAGE        with COSIGN_KEY: an image that `make image IMAGE=REGISTRY/NAME:TAG` built: it is pushed, signed by its
#                digest, and the signature is verified; IMAGE_DIGEST in the folder has the digest
#   COSIGN       the program (default: cosign); COSIGN_PASSWORD: of the key
# The .debs and the program in the tarball need the libraries of the Debian that they were built on. Nothing is sent to a
# public transparency log.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "release.sh: $*" >&2
  exit 1
}

cosign=${COSIGN:-cosign}
if [[ -n ${IMAGE:-} && -z ${COSIGN_KEY:-} ]]; then
  fail "IMAGE is pushed only with a signature: name the key with COSIGN_KEY (cosign generate-key-pair makes one)"
fi
if [[ -n ${COSIGN_KEY:-} ]]; then
  command -v "$cosign" >/dev/null ||
    fail "there is no $cosign: go install github.com/sigstore/cosign/v2/cmd/cosign@latest, or name it with COSIGN"
  [[ -r $COSIGN_KEY ]] || fail "cannot read the key $COSIGN_KEY"
fi
[[ -x build/bin/sharder ]] || fail "there is no build/bin/sharder: make release builds it"
version=$(build/bin/sharder --version | sed -n 's/^sharder //p')
commit=$(build/bin/sharder --version | sed -n 's/^commit //p')
[[ $commit != *-dirty && $commit != unknown ]] || [[ -n ${ALLOW_DIRTY:-} ]] ||
  fail "build/bin/sharder is of the commit \"$commit\": commit all changes and build again, or say ALLOW_DIRTY=1"

out=$PWD/build/release-$version
rm -rf "$out"
mkdir -p "$out"
if ! cpack --config build/release/CPackConfig.cmake -B "$out" >"$out/log" 2>&1; then
  tail -n 20 "$out/log" >&2
  fail "cpack failed"
fi
rm -rf "$out"/_CPack_Packages "$out"/log
(cd "$out" && sha256sum -- *.tar.gz *.deb >SHA256SUMS)

if [[ -n ${COSIGN_KEY:-} ]]; then
  "$cosign" public-key --key "$COSIGN_KEY" >"$out/sharder.pub"
  "$cosign" sign-blob --yes --key "$COSIGN_KEY" --tlog-upload=false --output-signature "$out/SHA256SUMS.sig" \
    "$out/SHA256SUMS" >/dev/null
  "$cosign" verify-blob --key "$out/sharder.pub" --insecure-ignore-tlog=true --signature "$out/SHA256SUMS.sig" \
    "$out/SHA256SUMS"
fi
if [[ -n ${IMAGE:-} ]]; then
  docker push --quiet "$IMAGE" >/dev/null || fail "cannot push $IMAGE"
  repository=${IMAGE%:*}
  digest=$(docker image inspect -f '{{range .RepoDigests}}{{println .}}{{end}}' "$IMAGE" | grep -F "$repository@" | head -n 1)
  [[ -n $digest ]] || fail "the registry gave no digest for $IMAGE; its name has to be REGISTRY/NAME:TAG"
  "$cosign" sign --yes --key "$COSIGN_KEY" --tlog-upload=false "$digest"
  "$cosign" verify --key "$out/sharder.pub" --insecure-ignore-tlog=true "$digest" >/dev/null
  echo "$digest" >"$out/IMAGE_DIGEST"
  echo "pushed and signed $digest"
fi
echo "the files of release $version, commit $commit, are in $out:"
ls "$out"
