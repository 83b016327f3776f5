"""The cluster that KUBECONFIG names, and a namespace of the tests' own in it."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator

import pytest

from .cluster import Cluster

_LEVEL = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Its namespace takes no pod that is not at the restricted Pod Security level."""
    for need in ("helm", "kubectl"):
        assert shutil.which(need), f"{need} is not on the PATH"
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG names no cluster"
    made = Cluster(f"trackops-test-{uuid.uuid4().hex[:8]}")
    made.kubectl_everywhere("create", "namespace", made.namespace)
    try:
        made.kubectl_everywhere("label", "namespace", made.namespace, _LEVEL)
        made.ensure_volumes()
        yield made
    finally:
        made.remove()
