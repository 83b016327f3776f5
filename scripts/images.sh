#!/usr/bin/env bash
# Builds the image of each service and of the edge, or of those named (order, saga_orchestrator, …, edge).
# BUILD: what builds ("docker build", "buildah bud"); BASE: the image with Python, by digest; REGISTRY: put in front of
# the names; TAG: of all of them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- $(cd services && echo *) edge
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
for service; do
  name=${REGISTRY:+$REGISTRY/}trackops/${service//_/-}:${TAG:-0.1.0}
  special=()
  [ "$service" != edge ] || special=(--build-arg FOLDER=edge --build-arg LIBRARIES=stubs)
  ${BUILD:-docker build} ${BASE:+--build-arg "BASE=$BASE"} --build-arg "SERVICE=$service" "${special[@]}" \
    --build-arg "VERSION=${TAG:-0.1.0}" --build-arg "REVISION=$revision" --tag "$name" .
  echo "images: $name"
done
