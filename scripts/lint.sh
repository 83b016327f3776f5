#!/usr/bin/env bash
# Everything that can be said about the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

ruff check --quiet .
ruff format --quiet --check . || { echo "lint: run 'make format'" >&2; exit 1; }
mypy libs/*/trackops_* services/*/trackops_* edge/trackops_edge cli/trackops_cli bench scripts conftest.py
for tests in libs/*/tests services/*/tests edge/tests cli/tests helm/tests helm/kubelet/tests tests; do  # each has modules of the same names
  mypy "$tests"
done
lint-imports --no-cache --no-logo | tail -n 20
python scripts/proto.py --check 2>/dev/null || { echo "lint: run 'make proto' and commit libs/stubs" >&2; exit 1; }
python scripts/openapi.py --check
python scripts/state_diagram.py --check
python scripts/saga_definitions.py --check
python scripts/authorization_table.py --check
python scripts/dashboards.py --check
python scripts/settings_table.py --check
python scripts/values_table.py --check
buf lint
buf format --diff --exit-code protos
scripts/buf_breaking.sh
scripts/audit.sh --if-answered
