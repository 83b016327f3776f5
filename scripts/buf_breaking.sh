#!/usr/bin/env bash
# Compares the contracts with those of the last release, the newest tag v* before the checked out
# commit, or with $BUF_BASE. Before the first release nobody depends on them yet.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

base=${BUF_BASE:-$(git describe --tags --match 'v*' --abbrev=0 2>/dev/null || true)}
if [ -z "$base" ]; then
  echo "buf breaking: no release to compare with"
  exit 0
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" buf.yaml protos | tar -x -C "$old"
cp -r .build "$old/.build"
buf breaking --against "$old"
