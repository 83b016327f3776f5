#!/usr/bin/env bash
# Makes .venv from the lock and installs every package of the repository editable into it.
# Does nothing when the lock and the packages' metadata are those of the last run.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(libs/stubs libs/client libs/common services/* edge cli)
stamp=.venv/.installed-from
wanted=$(cat requirements/*.txt $(printf '%s/pyproject.toml ' "${packages[@]}") scripts/venv.sh | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || exit 0

python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
"${python:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "trackops: Python 3.11 or later is needed; set PYTHON to its path" >&2; exit 1; }

echo "venv: installing the locked packages into .venv (a minute or two the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv || {
  echo "trackops: '$python -m venv .venv' failed; on Debian, install python3-venv" >&2; exit 1; }
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
uv() { .venv/bin/uv pip "$@" --quiet --python .venv/bin/python; }
uv install --require-hashes -r requirements/lock.txt
uv install --no-deps --no-build-isolation $(printf -- '-e %s ' "${packages[@]}")
echo "$wanted" >"$stamp"
