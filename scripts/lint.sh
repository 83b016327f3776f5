#!/usr/bin/env bash
# Everything that can be said about the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

ruff check --quiet .
ruff format --quiet --check . || { echo "lint: run 'make format'" >&2; exit 1; }
mypy
lint-imports --no-cache --no-logo | tail -n 20
python scripts/proto.py --check
buf lint
buf format --diff --exit-code protos
scripts/buf_breaking.sh
