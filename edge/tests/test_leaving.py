"""What comes before a stop: callers go elsewhere, and none of their calls is lost."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from trackops.order.v1.order_service_pb2 import ListOrdersRequest
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.testing import wait_for
from trackops_edge.render import LEAVING

from .edge_harness import Edge


@pytest.fixture
def leaving(edge: Edge) -> Iterator[Edge]:
    _say(edge, "1")
    wait_for(lambda: _asks_to_leave(edge), what="the file is read")
    yield edge
    _say(edge, "0")
    wait_for(lambda: not _asks_to_leave(edge), what="the file is read again")


def _say(edge: Edge, content: str) -> None:
    draft = edge.settings.folder / "draft"
    draft.write_text(content)
    draft.replace(edge.settings.folder / LEAVING)


def _asks_to_leave(edge: Edge) -> bool:
    return edge.call("GET", "/docs").headers.get("connection") == "close"


def test_before_that_connections_are_kept(edge: Edge) -> None:
    assert not _asks_to_leave(edge)


def test_whoever_still_comes_is_answered(leaving: Edge) -> None:
    answer = leaving.call("GET", "/v1/orders")
    assert answer.status == 200
    assert answer.headers["connection"] == "close"


def test_a_grpc_client_connects_anew_after_its_answer(leaving: Edge) -> None:
    before = _http2_connections(leaving)
    credentials = grpc.ssl_channel_credentials(leaving.authority.cert_pem.bytes())
    options = [("grpc.enable_http_proxy", 0)]
    metadata = (("authorization", f"Bearer {leaving.token}"),)
    with grpc.secure_channel(f"127.0.0.1:{leaving.port}", credentials, options) as channel:
        stub = OrderServiceStub(channel)

        def call() -> int:
            stub.ListOrders(ListOrdersRequest(), metadata=metadata, timeout=10)
            return _http2_connections(leaving) - before

        wait_for(lambda: call() >= 2, what="a second connection")


def _http2_connections(edge: Edge) -> int:
    name = 'envoy_http_downstream_cx_http2_total{envoy_http_conn_manager_prefix="https"} '
    (line,) = (line for line in edge.inside("/metrics")[1].splitlines() if line.startswith(name))
    return int(line.removeprefix(name))
