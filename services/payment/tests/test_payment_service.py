"""Payments as their callers see them, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic import SecretStr
from trackops.payment.v1 import payment_pb2, payment_service_pb2
from trackops.payment.v1.payment_service_pb2_grpc import PaymentServiceStub

from trackops_cli.testing import Database
from trackops_common.database import Database as OwnDatabase
from trackops_common.testing import ErrorDetails, error_details, serving
from trackops_payment.bootstrap import PaymentSettings, bootstrap


@pytest.fixture
async def stub(database: Database) -> AsyncIterator[Any]:
    settings = PaymentSettings(listen="", database_url=SecretStr(database.url("trackops_payment")))
    async with bootstrap(settings) as application, serving(application) as channel:
        yield PaymentServiceStub(channel)


def authorization(token: str = "tok_visa") -> payment_service_pb2.AuthorizePaymentRequest:
    return payment_service_pb2.AuthorizePaymentRequest(
        request_id=str(uuid4()),
        order_id=str(uuid4()),
        amount_minor=500,
        currency_code="EUR",
        payment_method_token=token,
    )


def void(order_id: str) -> payment_service_pb2.VoidPaymentRequest:
    return payment_service_pb2.VoidPaymentRequest(request_id=str(uuid4()), order_id=order_id)


async def refusal(call: Any) -> ErrorDetails:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_details(raised.value)


async def test_an_amount_is_held_and_let_go(stub: Any) -> None:
    request = authorization()
    held = (await stub.AuthorizePayment(request)).payment
    assert held.state == payment_pb2.PAYMENT_STATE_AUTHORIZED
    assert (held.amount_minor, held.currency_code) == (500, "EUR")
    voided = (await stub.VoidPayment(void(request.order_id))).payment
    assert voided.state == payment_pb2.PAYMENT_STATE_VOIDED
    shown = await stub.GetPayment(payment_service_pb2.GetPaymentRequest(order_id=request.order_id))
    assert shown.payment == voided


async def test_a_repeat_gets_the_same_bytes(stub: Any) -> None:
    request = authorization()
    first = await stub.AuthorizePayment(request)
    assert (await stub.AuthorizePayment(request)).SerializeToString() == first.SerializeToString()
    request.amount_minor = 1
    reused = await refusal(stub.AuthorizePayment(request))
    assert (reused.code, reused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")


async def test_refusals_say_why(stub: Any) -> None:
    request = authorization("tok_insufficient_funds")
    declined = await refusal(stub.AuthorizePayment(request))
    assert (declined.code, declined.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "PAYMENT_DECLINED",
    )
    assert declined.metadata == {
        "order_id": request.order_id,
        "decline_code": "insufficient_funds",
    }
    request = authorization()
    await stub.VoidPayment(void(request.order_id))
    voided = await refusal(stub.AuthorizePayment(request))
    assert (voided.code, voided.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_VOIDED")
    unknown = await refusal(
        stub.GetPayment(payment_service_pb2.GetPaymentRequest(order_id=str(uuid4())))
    )
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")


async def test_a_provider_that_is_away_is_unavailable_for_that_command_only(stub: Any) -> None:
    away = await refusal(stub.AuthorizePayment(authorization("tok_unavailable")))
    assert (away.code, away.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "DEPENDENCY_UNAVAILABLE",
    )
    requests = [authorization(), authorization("tok_unavailable"), authorization("tok_declined")]
    answer = await stub.BatchAuthorizePayments(
        payment_service_pb2.BatchAuthorizePaymentsRequest(requests=requests)
    )
    reasons = [
        ErrorDetails.of_status(one.error).reason if one.HasField("error") else ""
        for one in answer.results
    ]
    assert reasons == ["", "DEPENDENCY_UNAVAILABLE", "PAYMENT_DECLINED"]
    answer = await stub.BatchVoidPayments(
        payment_service_pb2.BatchVoidPaymentsRequest(
            requests=[void(requests[0].order_id), void(requests[2].order_id)]
        )
    )
    assert [one.response.payment.state for one in answer.results] == [
        payment_pb2.PAYMENT_STATE_VOIDED,
        payment_pb2.PAYMENT_STATE_DECLINED,
    ]


async def test_every_wrong_field_is_named(stub: Any) -> None:
    wrong = await refusal(
        stub.AuthorizePayment(
            payment_service_pb2.AuthorizePaymentRequest(
                request_id="1",
                order_id="2",
                amount_minor=-1,
                currency_code="eur",
                payment_method_token="a card",
            )
        )
    )
    assert (wrong.code, wrong.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(wrong.violations) == {
        "request_id",
        "order_id",
        "amount_minor",
        "currency_code",
        "payment_method_token",
    }


async def test_many_are_captured_and_refunded_each_alone(stub: Any) -> None:
    request, pb = authorization(), payment_service_pb2
    order_id = request.order_id
    await stub.AuthorizePayment(request)
    wanted = [(order_id, 300), (order_id, 201), (str(uuid4()), 1)]
    captures = [
        pb.CapturePaymentRequest(request_id=str(uuid4()), order_id=id_, amount_minor=amount)
        for id_, amount in wanted
    ]
    refunds = [
        pb.RefundPaymentRequest(request_id=str(uuid4()), order_id=id_, amount_minor=amount)
        for id_, amount in wanted
    ]
    captured = await stub.BatchCapturePayments(pb.BatchCapturePaymentsRequest(requests=captures))
    refunded = await stub.BatchRefundPayments(pb.BatchRefundPaymentsRequest(requests=refunds))
    for answer in (captured, refunded):
        first, second, third = answer.results
        assert first.response.movement.state == payment_pb2.PAYMENT_MOVEMENT_STATE_DONE
        too_high, unknown = (ErrorDetails.of_status(one.error) for one in (second, third))
        assert (too_high.code, too_high.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "AMOUNT_TOO_HIGH",
        )
        assert too_high.metadata["requested_minor"] == "201"
        assert unknown.reason == "PAYMENT_NOT_FOUND"
    assert refunded.results[0].response.payment.refunded_minor == 300


async def test_a_void_that_has_to_wait_is_unavailable(stub: Any) -> None:
    request = authorization("tok_capture_unavailable")
    await stub.AuthorizePayment(request)
    capture = payment_service_pb2.CapturePaymentRequest(
        request_id=str(uuid4()), order_id=request.order_id, amount_minor=1
    )
    away = await refusal(stub.CapturePayment(capture))
    assert away.code is grpc.StatusCode.UNAVAILABLE
    waiting = await refusal(stub.VoidPayment(void(request.order_id)))
    assert (waiting.code, waiting.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "DEPENDENCY_UNAVAILABLE",
    )
    capture.amount_minor = 2
    reused = await refusal(stub.CapturePayment(capture))
    assert (reused.code, reused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")


async def test_each_fact_has_the_trace_of_its_own_command(stub: Any, database: Database) -> None:
    pb = payment_service_pb2
    requests = [authorization(), authorization(), authorization("tok_insufficient_funds")]
    for number, request in enumerate(requests[1:], 2):
        request.traceparent = trace(number)
    await stub.BatchAuthorizePayments(
        pb.BatchAuthorizePaymentsRequest(requests=requests), metadata=[("traceparent", trace(1))]
    )
    keys = [request.order_id for request in requests]
    ids = {"order_id": keys[0], "amount_minor": 500}
    await stub.CapturePayment(
        pb.CapturePaymentRequest(request_id=str(uuid4()), traceparent=trace(4), **ids)
    )
    await stub.RefundPayment(
        pb.RefundPaymentRequest(request_id=str(uuid4()), traceparent=trace(5), **ids)
    )
    let_go = void(keys[1])
    let_go.traceparent = trace(6)
    await stub.VoidPayment(let_go)
    mine = OwnDatabase(database.url("trackops_payment"), application_name="test")
    found = mine.fetch("SELECT key, traceparent FROM outbox ORDER BY seq")
    mine.close()
    rows = [tuple(row) for row in found]
    assert set(rows[:3]) == set(zip(keys, map(trace, (1, 2, 3)), strict=True))
    assert rows[3:] == [(keys[0], trace(4)), (keys[0], trace(5)), (keys[1], trace(6))]


def trace(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"
