#!/usr/bin/env bash
# Builds the images, runs them as the chart's pods on a real kubelet of this machine, and takes all of it down again.
# K8S_UP: the program that makes the cluster, ../shared/tools/k8s-up.sh unless told otherwise; it wants root. BUILT=1: the
# images are there already. MINUTES: how long it may take, 25 unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
up=$(realpath -m "${K8S_UP:-../shared/tools/k8s-up.sh}")
fail() { echo "test-kubelet: $*" >&2; exit 1; }

[ -x "$up" ] || fail "there is no $up; K8S_UP names the program that makes a cluster"
[ "$(id -u)" = 0 ] || fail "a kubelet wants root"
for port in 23790 16443; do
  ! (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || fail "a cluster runs already (port $port is taken): take it down first"
done
if [ -z "${BOUNDED:-}" ]; then
  BOUNDED=1 exec timeout --kill-after=60 "${MINUTES:-25}m" "$PWD/scripts/test_kubelet.sh"
fi

K8S_RUN=$(mktemp -d /tmp/trackops-kubelet-XXXXXX)
export K8S_RUN K8S_NODES=1
trap '"$up" down --wipe' EXIT

"$up" image
[ -n "${BUILT:-}" ] || BUILD="$up bud --layers --format docker" BASE=localhost/python-base:12 REGISTRY=localhost scripts/images.sh
images=$(cd services && for service in *; do echo "localhost/trackops/${service//_/-}:${TAG:-0.1.0}"; done)
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep -F "$images"
"$up" node
"$up" load $images
eval "$("$up" env)"
.venv/bin/python -m pytest -s helm/kubelet/tests
