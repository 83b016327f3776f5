#!/usr/bin/env bash
# Prints where promtool is: Debian's of one version, unpacked into .build once (nothing is installed,
# and apt checks what it fetches); without that package, the one on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
version=2.42
tool=$PWD/.build/promtool-$version

fetch() {
  local work; work=$(mktemp -d)
  trap 'rm -rf "$work"' RETURN
  cd "$work"
  apt-get download -qq "prometheus=$version.*" || { apt-get update -qq && apt-get download -qq "prometheus=$version.*"; } || return
  dpkg-deb --extract prometheus_*.deb . || return
  mkdir -p "${tool%/*}" && mv usr/bin/promtool "$tool"
}

[ -x "$tool" ] || (fetch) >&2 || tool=$(command -v promtool) || {
  echo "promtool: install Prometheus $version or later, so that promtool is on the PATH" >&2; exit 1; }
echo "$tool"
