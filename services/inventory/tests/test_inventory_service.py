"""The inventory as its callers see it, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic import SecretStr
from trackops.inventory.v1 import inventory_pb2, inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

from trackops_cli.testing import Database
from trackops_common.testing import ErrorDetails, error_details, serving
from trackops_inventory.bootstrap import InventorySettings, bootstrap


@pytest.fixture
async def stub(database: Database) -> AsyncIterator[Any]:
    settings = InventorySettings(
        listen="", database_url=SecretStr(database.url("trackops_inventory"))
    )
    async with bootstrap(settings) as application, serving(application) as channel:
        yield InventoryServiceStub(channel)


def adjust(sku: str, delta: int) -> inventory_service_pb2.AdjustStockRequest:
    return inventory_service_pb2.AdjustStockRequest(request_id=str(uuid4()), sku=sku, delta=delta)


def reserve(**items: int) -> inventory_service_pb2.ReserveStockRequest:
    return inventory_service_pb2.ReserveStockRequest(
        request_id=str(uuid4()),
        order_id=str(uuid4()),
        items=[inventory_pb2.StockItem(sku=sku, quantity=n) for sku, n in items.items()],
    )


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
