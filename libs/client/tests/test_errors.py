from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc_testing
import pytest
from google.rpc import error_details_pb2, status_pb2
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client import (
    FieldViolation,
    TrackOpsError,
    error_of,
    open_aio_channel,
    typed_errors,
)
from trackops_client.testing import FakeServer, failing

DESCRIPTOR = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
INFO = error_details_pb2.ErrorInfo(
    reason="ORDER_NOT_FOUND", domain="trackops", metadata={"order_id": "some"}
)
DETAILS = "grpc-status-details-bin"


def _packed(*details: Any, code: grpc.StatusCode = grpc.StatusCode.NOT_FOUND) -> bytes:
    status = status_pb2.Status(code=code.value[0], message="told so")
    for detail in details:
        status.details.add().Pack(detail)
    encoded: bytes = status.SerializeToString()
    return encoded


def _failure(
    code: grpc.StatusCode, trailing: tuple[tuple[str, str | bytes], ...] = ()
) -> TrackOpsError:
    """What a call is to its caller that the server ends with `code`."""
    channel = grpc_testing.channel([DESCRIPTOR], grpc_testing.strict_real_time())
    orders = OrderServiceStub(channel)
    call: Any = orders.GetOrder.future(order_service_pb2.GetOrderRequest())
    _, _, rpc = channel.take_unary_unary(DESCRIPTOR.methods_by_name["GetOrder"])
    rpc.terminate(None, trailing, code, "told so")
    with pytest.raises(TrackOpsError) as failed, typed_errors():
        call.result()
    assert isinstance(failed.value.__cause__, grpc.RpcError)
    return failed.value


def test_a_reason_comes_with_what_it_is_about() -> None:
    error = _failure(grpc.StatusCode.NOT_FOUND, ((DETAILS, _packed(INFO)),))

    assert error.code is grpc.StatusCode.NOT_FOUND
    assert (error.reason, error.metadata) == ("ORDER_NOT_FOUND", {"order_id": "some"})
    assert (error.message, str(error)) == ("told so", "NOT_FOUND (ORDER_NOT_FOUND): told so")
    assert (error.violations, error.retry_after_seconds) == ((), None)


def test_every_wrong_field_is_named() -> None:
    wrong = [FieldViolation("request_id", "must be a UUID"), FieldViolation("lines[2].sku", "no")]
    bad = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=path, description=description)
            for path, description in wrong
        ]
    )

    error = _failure(grpc.StatusCode.INVALID_ARGUMENT, ((DETAILS, _packed(INFO, bad)),))

    assert error.violations == tuple(wrong)


def test_back_pressure_says_how_long_to_wait() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(250)

    error = _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, ((DETAILS, _packed(INFO, retry)),))

    assert error.retry_after_seconds == 0.25


@pytest.mark.parametrize(
    "trailing",
    [
        (),
        (("other", "x"),),
        ((DETAILS, b"\xff\xff not a status"),),
        ((DETAILS, _packed(error_details_pb2.ErrorInfo(reason="THEIRS", domain="proxy"))),),
    ],
    ids=["nothing", "no details", "unreadable details", "another domain"],
)
def test_a_failure_that_is_not_of_a_trackops_server_has_no_reason(
    trailing: tuple[tuple[str, str | bytes], ...],
) -> None:
    error = _failure(grpc.StatusCode.UNAVAILABLE, trailing)

    assert (error.code, error.reason, error.metadata) == (grpc.StatusCode.UNAVAILABLE, "", {})
    assert str(error) == "UNAVAILABLE: told so"


def test_an_error_of_an_aio_call_is_the_same(server: FakeServer) -> None:
    def answer(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata(((DETAILS, _packed(INFO)),))
        context.abort(grpc.StatusCode.NOT_FOUND, "told so")

    async def call() -> None:
        async with open_aio_channel(server.target) as channel:
            with typed_errors():
                await OrderServiceStub(channel).GetOrder(order_service_pb2.GetOrderRequest())

    server.answers = [answer]
    with pytest.raises(TrackOpsError) as failed:
        asyncio.run(call())

    expected = _failure(grpc.StatusCode.NOT_FOUND, ((DETAILS, _packed(INFO)),))
    assert vars(failed.value) == vars(expected)


def test_a_caught_error_can_be_read_without_being_raised_again(server: FakeServer) -> None:
    server.answers = [failing(grpc.StatusCode.ABORTED)]
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as failed:
        OrderServiceStub(channel).GetOrder(order_service_pb2.GetOrderRequest())

    assert error_of(failed.value).code is grpc.StatusCode.ABORTED


def test_any_other_error_passes() -> None:
    with pytest.raises(KeyError), typed_errors():
        raise KeyError
