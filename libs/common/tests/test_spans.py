"""What is recorded of calls and batches, and under what it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.batching import Batcher, in_thread
from trackops_common.database import Database
from trackops_common.errors import Overloaded
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.http_endpoint import Asked
from trackops_common.probes import Readiness, pages
from trackops_common.testing import serving
from trackops_common.testing_traces import SpansHere, recording
from trackops_common.traces import (
    Kind,
    client_interceptors,
    exemplar,
    joint,
    mark,
    recorded,
    span,
)
from trackops_common.traces.spans import joint_of
from trackops_common.tracing import current_traceparent
from trackops_common.vitals import Vitals

from .inbox_world import TRACE

SERVICE = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
GET = order_service_pb2.GetOrderRequest(order_id="6f1c0000-0000-4000-8000-00000000000a")
NAME = "trackops.order.v1.OrderService/GetOrder"
OTHER = "00-0bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
UNSAMPLED = f"{TRACE[:-2]}00"


class Servicer:
    """Answers everything with what `act` finds to do, and keeps the traces it was called in."""

    def __init__(self) -> None:
        self.traces: list[str] = []
        self.act: Any = lambda: None

    async def answer(self, _: Any, __: Any) -> bytes:
        self.traces.append(current_traceparent())
        self.act()
        return b""

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        return self.answer


def served(servicer: Servicer) -> Application:
    return Application([RpcService(SERVICE, servicer)])


async def get(channel: grpc.aio.Channel, traceparent: str = "") -> None:
    metadata = [("traceparent", traceparent)] if traceparent else []
    await OrderServiceStub(channel).GetOrder(GET, metadata=metadata)


async def test_a_call_has_a_span_under_its_callers() -> None:
    servicer = Servicer()
    with recording() as spans:
        async with serving(served(servicer)) as channel:
            await get(channel, TRACE)
    own = spans.one(NAME)
    assert (own.parent, own.kind, own.failure) == (TRACE, Kind.SERVER, "")
    assert own.traceparent == servicer.traces[0] != TRACE
    assert own.traceparent.split("-")[1] == TRACE.split("-")[1]
    assert own.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": NAME,
        "rpc.response.status_code": "OK",
    }
    assert 0 < own.begin < own.end


async def test_a_call_without_a_trace_begins_one() -> None:
    with recording() as spans:
        async with serving(served(Servicer())) as channel:
            await get(channel)
            await get(channel)
    first, second = spans.named(NAME)
    assert first.parent == second.parent == ""
    assert first.trace_id != second.trace_id


@pytest.mark.parametrize("caller", ["", UNSAMPLED])
async def test_what_is_not_recorded_is_handed_on_as_such(caller: str) -> None:
    servicer = Servicer()
    with recording(sampled=False) as spans:
        async with serving(served(servicer)) as channel:
            await get(channel, caller)
    assert not spans.ended
    (trace,) = servicer.traces
    assert trace.endswith("-00") and len(trace) == len(TRACE)
    assert not caller or trace == caller


async def test_a_failed_call_fails_its_span_where_the_service_is_at_fault() -> None:
    servicer = Servicer()
    with recording() as spans:
        async with serving(served(servicer)) as channel:
            for error in (Overloaded(retry_after_seconds=1), RuntimeError("a defect")):
                servicer.act = lambda error=error: _raise(error)
                with pytest.raises(grpc.aio.AioRpcError):
                    await get(channel)
    codes = [one.attributes["rpc.response.status_code"] for one in spans.named(NAME)]
    assert codes == ["RESOURCE_EXHAUSTED", "INTERNAL"]
    assert [one.failure for one in spans.named(NAME)] == ["", "INTERNAL"]


async def test_a_call_that_is_made_has_a_span_and_hands_on_its_own() -> None:
    servicer = Servicer()
    with recording() as spans:
        async with serving(served(servicer)) as channel:
            with joint("work", Kind.INTERNAL, [TRACE]):
                await get(channel)
    work, (own,) = spans.one("work"), _clients(spans)
    (server,) = [one for one in spans.named(NAME) if one.kind is Kind.SERVER]
    assert own.parent == work.traceparent
    assert server.parent == own.traceparent
    assert own.attributes["rpc.response.status_code"] == "OK"


async def test_a_call_that_fails_fails_its_span_for_the_caller() -> None:
    servicer = Servicer()
    servicer.act = lambda: _raise(Overloaded(retry_after_seconds=1))
    with recording() as spans:
        async with serving(served(servicer)) as channel:
            with joint("work", Kind.INTERNAL, [TRACE]), pytest.raises(grpc.aio.AioRpcError):
                await get(channel)
    assert [one.failure for one in _clients(spans)] == ["RESOURCE_EXHAUSTED"]


async def test_a_batch_links_to_every_recorded_caller_and_they_to_it() -> None:
    ran_in: list[str] = []

    def run(commands: Sequence[int]) -> Sequence[int]:
        ran_in.append(current_traceparent())
        return commands

    with recording() as spans, ThreadPoolExecutor(1) as threads:
        batcher = Batcher(in_thread(threads, run), name="Sums")

        async def call(number: int, caller: str) -> None:
            with joint(f"caller {number}", Kind.SERVER, [caller]):
                await batcher.submit(number)

        callers = enumerate([UNSAMPLED, TRACE, OTHER])
        await asyncio.gather(*(call(number, caller) for number, caller in callers))
        await batcher.close()
    batch, first, second = spans.one("batch Sums"), spans.one("caller 1"), spans.one("caller 2")
    assert batch.attributes == {"trackops.batch.size": 3}
    assert batch.parent == first.traceparent
    assert batch.links == [first.traceparent, second.traceparent]
    assert second.links == [OTHER, batch.traceparent]
    assert first.links == [TRACE]
    assert ran_in == [batch.traceparent]


async def test_a_batch_is_not_in_the_trace_of_a_batch_before() -> None:
    with recording() as spans, ThreadPoolExecutor(1) as threads:
        seen: list[str] = []

        def run(commands: Sequence[int]) -> Sequence[int]:
            seen.append(current_traceparent())
            return commands

        batcher = Batcher(in_thread(threads, run))
        with joint("caller", Kind.SERVER, [TRACE]):
            await batcher.submit(1)
        await batcher.submit(2)
        await batcher.close()
    assert seen == [spans.one("batch").traceparent, ""]


def test_inside_a_span_others_stand_under_it_and_an_error_fails_it() -> None:
    with recording() as spans:
        with pytest.raises(KeyError), joint("work", Kind.CONSUMER, [TRACE, OTHER, TRACE]):
            with span("part", Kind.CLIENT, {"db.system.name": "redis"}):
                assert exemplar() == {
                    "trace_id": current_traceparent().split("-")[1],
                    "span_id": current_traceparent().split("-")[2],
                }
            raise KeyError("x")
        assert recorded() is None and current_traceparent() == "" and exemplar() is None
    part, work = spans.ended
    assert part.parent == work.traceparent and not part.failure
    assert work.parent == TRACE and work.links == [TRACE, OTHER]
    assert work.failure == "KeyError: 'x'"


def test_a_mark_is_what_follows_from_it_stands_under() -> None:
    with recording() as spans:
        after = mark("begun", TRACE, {"trackops.saga.id": "1"})
        assert mark("begun", UNSAMPLED) == UNSAMPLED
        assert mark("begun", "") == ""
    assert spans.one("begun").parent == TRACE
    assert spans.one("begun").traceparent == after


def test_nothing_is_recorded_where_nobody_asked_for_it() -> None:
    with span("x") as one, joint("x", Kind.INTERNAL, [TRACE]) as two, joint_of("x", []) as three:
        assert one is two is three is None
    assert mark("x", TRACE) == TRACE
    assert client_interceptors() == []


def _clients(spans: SpansHere) -> Sequence[Any]:
    return [one for one in spans.named(NAME) if one.kind is Kind.CLIENT]


def _raise(error: Exception) -> None:
    raise error


async def test_numbers_have_the_trace_of_an_example_for_whoever_reads_openmetrics() -> None:
    vitals = Vitals(CollectorRegistry())
    application = replace(served(Servicer()), vitals=vitals)
    with recording() as spans:
        async with serving(application) as channel:
            await get(channel, TRACE)
    metrics = pages(vitals, Readiness())["/metrics"]
    plain = await metrics(Asked())
    open_metrics = await metrics(Asked(accept="application/openmetrics-text;version=1.0.0;q=0.5"))
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert b"trace_id" not in plain.body
    assert open_metrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    parsed: Any = text_string_to_metric_families
    (example,) = [
        sample.exemplar.labels
        for family in parsed(open_metrics.body.decode())
        for sample in family.samples
        if sample.exemplar
    ]
    span_id = spans.one(NAME).traceparent.split("-")[2]
    assert example == {"trace_id": TRACE.split("-")[1], "span_id": span_id}


def test_a_statement_is_named_by_what_it_does(database: Any) -> None:
    mine = Database(database.url("trackops_order"), application_name="test")
    try:
        with recording() as spans:
            with joint("work", Kind.INTERNAL, [TRACE]), mine.transaction() as transaction:
                transaction.execute("SELECT 1")
                transaction.execute("SELECT 2")
            with joint("work", Kind.INTERNAL, [TRACE]):
                mine.fetch("SELECT %(n)s", {"n": "secret"})
            mine.fetch("SELECT 1")  # for nobody
    finally:
        mine.close()
    group, _, single, _ = spans.ended
    assert group.name == "TRANSACTION trackops_order"
    assert group.attributes["db.operation.batch.size"] == 2
    assert single.name == "SELECT trackops_order"
    assert single.attributes["db.query.text"] == "SELECT %(n)s"
    assert str(single.attributes["db.namespace"]).endswith("|trackops_order")
    assert "secret" not in str([one.attributes for one in spans.ended])


async def test_a_command_of_a_batch_is_in_the_trace_that_it_carries() -> None:
    seen: list[str] = []

    async def run(commands: Sequence[str]) -> Sequence[bytes]:
        seen.extend(commands)
        return [b""] * len(commands)

    pb = inventory_service_pb2
    batcher = Batcher(run)
    servicer = Servicer()
    rpc: CommandRpc[Any, str] = CommandRpc(
        batcher, lambda *_: current_traceparent(), pb.BatchReleaseStockResponse, lambda _: None
    )
    servicer.__dict__["BatchReleaseStock"] = rpc.many
    inventory = pb.DESCRIPTOR.services_by_name["InventoryService"]
    ids = {"request_id": GET.order_id, "order_id": GET.order_id}
    requests = [pb.ReleaseStockRequest(traceparent=one, **ids) for one in (OTHER, "", "00-x")]
    async with serving(Application([RpcService(inventory, servicer)])) as channel:
        await InventoryServiceStub(channel).BatchReleaseStock(
            pb.BatchReleaseStockRequest(requests=requests), metadata=[("traceparent", TRACE)]
        )
    await batcher.close()
    assert seen == [OTHER, TRACE, TRACE]
