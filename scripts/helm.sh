#!/usr/bin/env bash
# Prints where Helm 3 is: the one on the PATH, else one that Go builds into .build once.
set -euo pipefail
cd "$(dirname "$0")/.."
version=v3.22.0
tool=$PWD/.build/helm-$version

build() {
  local work; work=$(mktemp -d)
  trap 'rm -rf "$work"' RETURN
  CGO_ENABLED=0 GOBIN=$work go install "helm.sh/helm/v3/cmd/helm@$version"
  mkdir -p "${tool%/*}" && mv "$work/helm" "$tool"
}

command -v helm && exit 0
[ -x "$tool" ] || (build) >&2 || { echo "helm: put Helm $version or a later 3.x on the PATH" >&2; exit 1; }
echo "$tool"
