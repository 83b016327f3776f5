"""The trace of a request, on the events that the request makes true."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping

from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.database import Database
from trackops_common.testing_tokens import authorized_aio_channel
from trackops_order.testing import OrderServer, create_request

_TRACES = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 41)]


def traces_of(service: OrderServer, type_: str) -> Mapping[str, str]:
    """By order id, what stands in the outbox."""
    database = Database(service.database_url, application_name="test")
    try:
        rows = database.fetch(
            "SELECT key, traceparent FROM outbox WHERE type = %(type)s",
            {"type": f"trackops.order.v1.{type_}"},
        )
        return {row[0]: row[1] for row in rows}
    finally:
        database.close()


async def test_each_command_of_a_batch_keeps_the_trace_of_its_own_call(
    service: OrderServer,
) -> None:
    async with authorized_aio_channel(service.target) as channel:
        stub = OrderServiceStub(channel)

        async def create_and_cancel(trace: str) -> str:
            created = await stub.CreateOrder(create_request(), metadata=[("traceparent", trace)])
            order_id: str = created.order.order_id
            cancel = order_service_pb2.CancelOrderRequest(
                request_id=str(uuid.uuid4()), order_id=order_id
            )
            await stub.CancelOrder(cancel, metadata=[("traceparent", trace[:-2] + "00")])
            return order_id

        orders = await asyncio.gather(*map(create_and_cancel, _TRACES))
    placed = traces_of(service, "OrderPlaced")
    cancelled = traces_of(service, "OrderCancellationRequested")
    assert [placed[order] for order in orders] == _TRACES
    assert [cancelled[order] for order in orders] == [trace[:-2] + "00" for trace in _TRACES]


async def test_no_trace_is_made_up_and_a_repeat_changes_none(service: OrderServer) -> None:
    async with authorized_aio_channel(service.target) as channel:
        stub = OrderServiceStub(channel)
        without = await stub.CreateOrder(create_request())
        broken = await stub.CreateOrder(create_request(), metadata=[("traceparent", "00-1-2-01")])
        request = create_request()
        for trace in _TRACES[:2]:
            repeated = await stub.CreateOrder(request, metadata=[("traceparent", trace)])
    found = traces_of(service, "OrderPlaced")
    assert found[without.order.order_id] == found[broken.order.order_id] == ""
    assert found[repeated.order.order_id] == _TRACES[0]
