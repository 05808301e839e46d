#!/usr/bin/env bash
# test.sh PROGRAM: one shard on the embedded API server, without a sharder: the test itself sets the shard label.
# SHARDER_APISERVER names the API server's program.
set -euo pipefail
folder=$(mktemp -d)
export KUBECONFIG=$folder/kubeconfig
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

"${SHARDER_APISERVER:-build/bin/sharder-apiserver}" --kubeconfig "$KUBECONFIG" &
for _ in {1..300}; do [[ -s $KUBECONFIG ]] && break || sleep 0.1; done
"$1" shard-a 0 0 2>"$folder/log" &
shard=$!

kubectl create deployment web --image=web --dry-run=client -o yaml |
  kubectl label --local -f - shard.alpha.sharding.timebertt.dev/disruption-budgets=shard-a -o yaml | kubectl create -f -
kubectl wait --for=create pdb/web --timeout=30s || { cat "$folder/log"; exit 1; }

kill -TERM $shard
wait $shard # 0: it has ended in order
[[ -z $(kubectl get lease shard-a -o jsonpath='{.spec.holderIdentity}') ]]
