#!/usr/bin/env bash
# Builds the image of each service, or of those named (order, saga_orchestrator, …).
# BUILD: what builds ("docker build", "buildah bud"); BASE: the image with Python, by digest; REGISTRY: put in front of
# the names; TAG: of all of them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- $(cd services && echo *)
for service; do
  name=${REGISTRY:+$REGISTRY/}trackops/${service//_/-}:${TAG:-0.1.0}
  ${BUILD:-docker build} ${BASE:+--build-arg "BASE=$BASE"} --build-arg "SERVICE=$service" --tag "$name" .
  echo "images: $name"
done
