from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from trackops.order.v1 import order_service_pb2

from trackops_client.testing import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """An order service that answers as it is told."""
    with closing(FakeServer(order_service_pb2.DESCRIPTOR.services_by_name["OrderService"])) as made:
        yield made


@pytest.fixture
def other_server() -> Iterator[FakeServer]:
    """Another one."""
    with closing(FakeServer(order_service_pb2.DESCRIPTOR.services_by_name["OrderService"])) as made:
        yield made
