# One service's image: what it depends on at the versions of the lock, and nothing that builds.
#   docker build --build-arg SERVICE=order --tag trackops/order .
# BASE is any image with Python 3.11 or later as `python3` and its venv module; name it by digest for a build to be
# repeatable. `make images` builds all of them.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
ARG SERVICE
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy UV_SYSTEM_CERTS=1
WORKDIR /src
COPY requirements/ requirements/
RUN python3 -m venv /tools \
 && /tools/bin/pip install --quiet --no-cache-dir --require-hashes --requirement requirements/bootstrap.txt \
 && /tools/bin/uv pip install --quiet --python /tools/bin/python --constraints requirements/lock.txt hatchling
COPY libs/stubs/ libs/stubs/
COPY libs/common/ libs/common/
COPY services/${SERVICE}/ services/${SERVICE}/
# The wheels name each other; all the rest is held to the lock. Compiled files are trusted without a look at times, which
# differ from build to build.
RUN for package in libs/stubs libs/common services/${SERVICE}; do \
      /tools/bin/uv build --quiet --wheel --no-build-isolation --python /tools/bin/python --out-dir /wheels "$package"; \
    done \
 && python3 -m venv --without-pip /app \
 && /tools/bin/uv pip install --quiet --python /app/bin/python --constraints requirements/lock.txt /wheels/*.whl \
 && printf '#!/bin/sh\nexec python -m trackops_%s\n' "${SERVICE}" >/app/bin/serve && chmod 755 /app/bin/serve \
 && /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib

FROM ${BASE}
ARG SERVICE
LABEL org.opencontainers.image.title="trackops ${SERVICE}"
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /app /app
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 CMD ["python", "-c", \
  "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['TRACKOPS_HTTP_LISTEN'].rpartition(':')[2] + '/healthz/ready', timeout=2)"]
CMD ["serve"]
