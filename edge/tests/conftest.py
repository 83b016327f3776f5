"""One edge for all tests that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trackops_cli.local.ports import Ports

from .edge_harness import Edge, run_edge


@pytest.fixture
def ports() -> Iterator[int]:
    return free_ports()


def free_ports() -> Iterator[int]:
    """Ports that nobody listened on a moment ago."""
    return iter(vars(Ports.free()).values())


@pytest.fixture(scope="session")
def shared_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run_edge(tmp_path_factory.mktemp("edge"), free_ports()) as edge:
        yield edge


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    """Its services forget what other tests told them."""
    shared_edge.services.reset()
    return shared_edge
