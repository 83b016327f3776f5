# One service's image: what it depends on at the versions of the lock, and nothing that builds.
#   docker build --build-arg SERVICE=order --tag trackops/order .
# BASE is any image with Python 3.11 or later as `python3` and its venv module; name it by digest for a build to be
# repeatable. `make images` builds all of them. FOLDER is where the package lies and LIBRARIES what it needs of libs/,
# where that differs: the edge's image, which writes Envoy's configuration, has FOLDER=edge and LIBRARIES=stubs.
# The packages in an image are listed in /app/sbom.cdx.json (CycloneDX), which a label names.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
ARG SERVICE
ARG FOLDER=services/${SERVICE}
ARG LIBRARIES="stubs common"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy UV_SYSTEM_CERTS=1
WORKDIR /src
COPY requirements/ requirements/
RUN python3 -m venv /tools \
 && /tools/bin/pip install --quiet --no-cache-dir --require-hashes --requirement requirements/bootstrap.txt \
 && /tools/bin/uv pip install --quiet --python /tools/bin/python --constraints requirements/lock.txt hatchling
COPY libs/stubs/ libs/stubs/
COPY libs/common/ libs/common/
COPY ${FOLDER}/ ${FOLDER}/
COPY scripts/sbom.py scripts/
# The wheels name each other; all the rest is held to the lock. Compiled files are trusted without a look at times, which
# differ from build to build.
RUN for package in $(printf 'libs/%s ' ${LIBRARIES}) ${FOLDER}; do \
      /tools/bin/uv build --quiet --wheel --no-build-isolation --python /tools/bin/python --out-dir /wheels "$package" \
      || exit 1; \
    done \
 && python3 -m venv --without-pip /app \
 && /tools/bin/uv pip install --quiet --python /app/bin/python --constraints requirements/lock.txt /wheels/*.whl \
 && printf '#!/bin/sh\nexec python -m trackops_%s\n' "${SERVICE}" >/app/bin/serve && chmod 755 /app/bin/serve \
 && /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib \
 && /app/bin/python -I scripts/sbom.py "trackops-${SERVICE}" >/app/sbom.cdx.json

FROM ${BASE}
ARG SERVICE
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="trackops ${SERVICE}" \
      org.opencontainers.image.description="TrackOps order management: ${SERVICE}" \
      org.opencontainers.image.vendor="TrackOps" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      trackops.sbom="/app/sbom.cdx.json"
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /app /app
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 CMD ["python", "-c", \
  "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['TRACKOPS_HTTP_LISTEN'].rpartition(':')[2] + '/healthz/ready', timeout=2)"]
CMD ["serve"]
