#!/usr/bin/env bash
# Compares the contracts with those of a base: the last commit of the main branch that the checked
# out commit does not contain itself, or else the commit before it. Nothing to compare with is fine.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

base=${BUF_BASE:-}
for candidate in origin/main main HEAD^; do
  [ -z "$base" ] || break
  commit=$(git rev-parse --quiet --verify "$candidate^{commit}" 2>/dev/null) || continue
  [ "$commit" = "$(git rev-parse HEAD)" ] || base=$commit
done
if [ -z "$base" ] || ! git cat-file -e "$base:protos" 2>/dev/null; then
  echo "buf breaking: no earlier contracts to compare with"
  exit 0
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" buf.yaml protos | tar -x -C "$old"
cp -r .build "$old/.build"
buf breaking --against "$old"
