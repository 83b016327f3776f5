"""The inventory as its callers see it, over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic import SecretStr
from trackops.inventory.v1 import inventory_pb2, inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

from trackops_cli.testing import Database
from trackops_common.database import Database as OwnDatabase
from trackops_common.testing import ErrorDetails, error_details, serving
from trackops_inventory.bootstrap import InventorySettings, bootstrap


@pytest.fixture
async def stub(database: Database) -> AsyncIterator[Any]:
    settings = InventorySettings(
        listen="",
        database_url=SecretStr(database.url("trackops_inventory")),
        expiry_interval_seconds=0.05,
    )
    async with bootstrap(settings) as application, serving(application) as channel:
        yield InventoryServiceStub(channel)


def adjust(sku: str, delta: int) -> inventory_service_pb2.AdjustStockRequest:
    return inventory_service_pb2.AdjustStockRequest(request_id=str(uuid4()), sku=sku, delta=delta)


def reserve(*, expires: int = 0, **items: int) -> inventory_service_pb2.ReserveStockRequest:
    return inventory_service_pb2.ReserveStockRequest(
        request_id=str(uuid4()),
        order_id=str(uuid4()),
        items=stock_items(items),
        expire_after_seconds=expires,
    )


def commit(order_id: str, **items: int) -> inventory_service_pb2.CommitStockRequest:
    return inventory_service_pb2.CommitStockRequest(
        request_id=str(uuid4()), order_id=order_id, items=stock_items(items)
    )


def restock(order_id: str, **items: int) -> inventory_service_pb2.RestockItemsRequest:
    return inventory_service_pb2.RestockItemsRequest(
        request_id=str(uuid4()), order_id=order_id, items=stock_items(items)
    )


def stock_items(quantities: Mapping[str, int]) -> list[inventory_pb2.StockItem]:
    return [inventory_pb2.StockItem(sku=sku, quantity=n) for sku, n in quantities.items()]


async def level_of(stub: Any, sku: str) -> tuple[int, int, int]:
    """(on hand, reserved, available)"""
    request = inventory_service_pb2.BatchGetStockRequest(skus=[sku])
    (level,) = (await stub.BatchGetStock(request)).stock_levels
    return level.on_hand, level.reserved, level.available


async def refusal(call: Any) -> ErrorDetails:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_details(raised.value)


async def test_stock_goes_in_and_out(stub: Any) -> None:
    level = (await stub.AdjustStock(adjust("TEA", 5))).stock_level
    assert (level.on_hand, level.available) == (5, 5)
    request = reserve(TEA=3)
    held = (await stub.ReserveStock(request)).reservation
    assert held.order_id == request.order_id
    release = inventory_service_pb2.ReleaseStockRequest(
        request_id=str(uuid4()), order_id=request.order_id
    )
    released = (await stub.ReleaseStock(release)).reservation
    assert released.state == inventory_pb2.RESERVATION_STATE_RELEASED
    late = await refusal(stub.ReserveStock(reserve_again(request)))
    assert (late.code, late.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "RESERVATION_RELEASED",
    )


def reserve_again(
    request: inventory_service_pb2.ReserveStockRequest,
) -> inventory_service_pb2.ReserveStockRequest:
    again = inventory_service_pb2.ReserveStockRequest()
    again.CopyFrom(request)
    again.request_id = str(uuid4())
    return again


async def test_a_repeat_gets_the_same_bytes(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    request = reserve(TEA=3)
    first = await stub.ReserveStock(request)
    assert (await stub.ReserveStock(request)).SerializeToString() == first.SerializeToString()
    request.items[0].quantity = 2
    reused = await refusal(stub.ReserveStock(request))
    assert (reused.code, reused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")


async def test_refusals_name_what_is_missing(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    short = await refusal(stub.ReserveStock(reserve(TEA=6)))
    assert (short.code, short.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "INSUFFICIENT_STOCK",
    )
    assert short.metadata == {"sku": "TEA", "requested": "6", "available": "5"}
    unknown = await refusal(stub.ReserveStock(reserve(MUG=1)))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "SKU_NOT_FOUND")


async def test_every_wrong_field_is_named(stub: Any) -> None:
    request = inventory_service_pb2.ReserveStockRequest(
        request_id="1", order_id="2", items=[inventory_pb2.StockItem(sku="tea", quantity=0)]
    )
    wrong = await refusal(stub.ReserveStock(request))
    assert wrong.code == grpc.StatusCode.INVALID_ARGUMENT
    assert wrong.reason == "INVALID_REQUEST"
    assert set(wrong.violations) == {
        "request_id",
        "order_id",
        "items[0].sku",
        "items[0].quantity",
    }


async def test_a_sku_in_two_items_is_a_wrong_field(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    request = reserve(TEA=1)
    request.items.add().CopyFrom(request.items[0])
    wrong = await refusal(stub.ReserveStock(request))
    assert (wrong.code, set(wrong.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, {"items"})


async def test_in_a_batch_each_succeeds_or_fails_alone(stub: Any) -> None:
    adjusted = await stub.BatchAdjustStock(
        inventory_service_pb2.BatchAdjustStockRequest(
            requests=[adjust("TEA", 5), adjust("MUG", -1), adjust("CUP", 2)]
        )
    )
    assert [one.WhichOneof("result") for one in adjusted.results] == [
        "response",
        "error",
        "response",
    ]
    requests = [reserve(TEA=3), reserve(TEA=3), reserve(TEA=2, CUP=1)]
    reserved = await stub.BatchReserveStock(
        inventory_service_pb2.BatchReserveStockRequest(requests=requests)
    )
    reasons = [
        ErrorDetails.of_status(r.error).reason if r.HasField("error") else ""
        for r in reserved.results
    ]
    assert reasons == ["", "INSUFFICIENT_STOCK", ""]
    released = await stub.BatchReleaseStock(
        inventory_service_pb2.BatchReleaseStockRequest(
            requests=[
                inventory_service_pb2.ReleaseStockRequest(
                    request_id=str(uuid4()), order_id=request.order_id
                )
                for request in requests
            ]
        )
    )
    assert [len(one.response.reservation.items) for one in released.results] == [1, 0, 2]


async def test_levels_come_in_the_order_asked_for(stub: Any) -> None:
    for sku in ("TEA", "MUG"):
        await stub.AdjustStock(adjust(sku, 5))
    found = await stub.BatchGetStock(
        inventory_service_pb2.BatchGetStockRequest(skus=["MUG", "NONE", "TEA"])
    )
    assert [level.sku for level in found.stock_levels] == ["MUG", "TEA"]


async def test_stock_follows_the_goods(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    order_id = (await stub.ReserveStock(reserve(TEA=3))).reservation.order_id
    gone = (await stub.CommitStock(commit(order_id, TEA=2))).reservation
    assert gone.state == inventory_pb2.RESERVATION_STATE_HELD
    back = (await stub.RestockItems(restock(order_id, TEA=1))).reservation
    (item,) = back.reserved_items
    assert (item.quantity, item.committed_quantity, item.restocked_quantity) == (3, 2, 1)
    assert [(one.sku, one.quantity) for one in back.items] == [("TEA", 3)]
    assert await level_of(stub, "TEA") == (4, 1, 3)
    last = (await stub.CommitStock(commit(order_id, TEA=1))).reservation
    assert last.state == inventory_pb2.RESERVATION_STATE_COMMITTED


async def test_refusals_of_what_goes_and_comes_say_why(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    held = reserve(TEA=3)
    await stub.ReserveStock(held)
    nobody = str(uuid4())
    for call in (
        stub.CommitStock(commit(nobody, TEA=1)),
        stub.RestockItems(restock(nobody, TEA=1)),
    ):
        unknown = await refusal(call)
        assert (unknown.code, unknown.reason, unknown.metadata) == (
            grpc.StatusCode.NOT_FOUND,
            "RESERVATION_NOT_FOUND",
            {"order_id": nobody},
        )
    many = await refusal(stub.CommitStock(commit(held.order_id, TEA=4)))
    assert (many.code, many.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_PIECES")
    assert many.metadata == {
        "order_id": held.order_id,
        "sku": "TEA",
        "requested": "4",
        "available": "3",
    }
    await stub.CommitStock(commit(held.order_id, TEA=3))
    again = await refusal(stub.ReserveStock(reserve_again(held)))
    assert again.reason == "FORBIDDEN_TRANSITION"
    assert again.metadata == {"order_id": held.order_id, "from": "COMMITTED", "to": "HELD"}


async def test_what_goes_and_comes_in_a_batch_does_so_alone(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    order_id = (await stub.ReserveStock(reserve(TEA=3))).reservation.order_id
    gone = await stub.BatchCommitStock(
        inventory_service_pb2.BatchCommitStockRequest(
            requests=[commit(order_id, TEA=n) for n in (2, 2, 1)]
        )
    )
    assert [one.HasField("error") for one in gone.results] == [False, True, False]
    back = await stub.BatchRestockItems(
        inventory_service_pb2.BatchRestockItemsRequest(
            requests=[restock(order_id, TEA=n) for n in (4, 3)]
        )
    )
    assert [one.HasField("error") for one in back.results] == [True, False]
    assert await level_of(stub, "TEA") == (5, 0, 5)


async def test_a_reservation_ends_by_itself(stub: Any) -> None:
    await stub.AdjustStock(adjust("TEA", 5))
    held = (await stub.ReserveStock(reserve(expires=1, TEA=3))).reservation
    lasting = held.expire_time.ToNanoseconds() - held.create_time.ToNanoseconds()
    assert lasting == 1_000_000_000
    async with asyncio.timeout(20):
        while (await level_of(stub, "TEA"))[1]:
            pass
    late = await refusal(stub.CommitStock(commit(held.order_id, TEA=1)))
    assert late.reason == "RESERVATION_RELEASED"


async def test_five_hundred_buyers_at_once_get_the_pieces_that_there_are(stub: Any) -> None:
    await stub.AdjustStock(adjust("HOT", 300))

    calls = [stub.ReserveStock(reserve(HOT=1)) for _ in range(500)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    refused = [error_details(one) for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
    assert {error.reason for error in refused} == {"INSUFFICIENT_STOCK"}
    assert len(outcomes) - len(refused) == 300
    assert await level_of(stub, "HOT") == (300, 300, 0)


async def test_each_fact_has_the_trace_of_its_own_command(stub: Any, database: Database) -> None:
    await stub.AdjustStock(adjust("TEA", 9), metadata=[("traceparent", trace(1))])
    requests = [reserve(TEA=1) for _ in range(3)]
    for number, request in enumerate(requests[:2], 2):
        request.traceparent = trace(number)
    await stub.BatchReserveStock(
        inventory_service_pb2.BatchReserveStockRequest(requests=requests),
        metadata=[("traceparent", trace(4))],
    )
    order_id = requests[0].order_id
    shipped = commit(order_id, TEA=1)
    shipped.traceparent = trace(5)
    await stub.CommitStock(shipped)
    returned = restock(order_id, TEA=1)
    returned.traceparent = trace(6)
    await stub.RestockItems(returned)
    release = inventory_service_pb2.ReleaseStockRequest(
        request_id=str(uuid4()), order_id=requests[1].order_id, traceparent=trace(7)
    )
    await stub.ReleaseStock(release)
    mine = OwnDatabase(database.url("trackops_inventory"), application_name="test")
    found = mine.fetch("SELECT key, traceparent FROM outbox ORDER BY seq")
    mine.close()
    keys = [request.order_id for request in requests]
    assert [tuple(row) for row in found] == [
        ("TEA", trace(1)),
        (keys[0], trace(2)),
        (keys[1], trace(3)),
        (keys[2], trace(4)),
        (keys[0], trace(5)),
        (keys[0], trace(6)),
        (keys[1], trace(7)),
    ]


def trace(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"
