#!/usr/bin/env bash
# Resolves every package's dependencies to exact versions with hashes. The files name no index.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
[ -x "$uv" ] || uv=uv
compile() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-emit-find-links --no-annotate "$@"; }
own=(--no-emit-package trackops-client --no-emit-package trackops-common --no-emit-package trackops-edge --no-emit-package trackops-stubs)
compile requirements/bootstrap.in -o requirements/bootstrap.txt
compile "${own[@]}" "$@" libs/*/pyproject.toml services/*/pyproject.toml edge/pyproject.toml cli/pyproject.toml \
  --all-extras requirements/dev.in -o requirements/lock.txt
