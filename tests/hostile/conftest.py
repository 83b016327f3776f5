"""A mesh for whoever means harm: nobody else's tests run on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trackops_cli.local.edge import Edge
from trackops_cli.testing import Mesh, leaked_secrets, temporary_stack
from trackops_edge.settings import Limits, Rate

from .samples import Known
from .world import peopled

_PLENTY = Rate(burst=100_000, per_second=100_000)


@pytest.fixture(scope="session")
def hostile_mesh() -> Iterator[Mesh]:
    """Its edge lets one caller send as fast as it can. No log may hold a secret afterwards."""
    with temporary_stack(kafka_protocol="SASL_PLAINTEXT") as stack:
        limits = Limits(per_client=_PLENTY, together=_PLENTY)
        stack.edge = Edge(stack.context, stack.addresses, limits)
        stack.up()
        yield Mesh(stack)
        stack.stop()
        assert leaked_secrets(stack.context.home) == []


@pytest.fixture(scope="session")
def known(hostile_mesh: Mesh) -> Known:
    """What is on it: made once, since harm is done to it."""
    return peopled(hostile_mesh)
