"""The participants' batch RPCs, bound to the actions that the definitions name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
from trackops.inventory.v1 import inventory_pb2, inventory_service_pb2, inventory_service_pb2_grpc
from trackops.order.v1 import order_saga_service_pb2, order_saga_service_pb2_grpc
from trackops.payment.v1 import payment_service_pb2, payment_service_pb2_grpc

from trackops_common.identity_client import bearer
from trackops_common.traces import Kind, Span, Tracer, installed, is_sampled, joint_of
from trackops_saga_orchestrator.adapters.outcomes import is_about_an_item, outcome_of, status_of
from trackops_saga_orchestrator.application.ports import Participants
from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.goods_moved import GoodsMoved
from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.place_order import OrderToPlace
from trackops_saga_orchestrator.domain.progress import Done, Failure, Outcome, Refused, Unknown

__all__ = ["GrpcBatchAction", "grpc_participants"]

_Message = Any
"""Batch requests and results of any participant: alike in shape, not in type."""

_DONE = Done()

Token = Callable[[], str]
"""The access token of the call about to be made, at once; may be empty."""


class GrpcBatchAction:
    """A `BatchAction` that is one RPC."""

    def __init__(
        self,
        token: Token,
        rpc: Callable[..., _Message],
        batch: Callable[..., _Message],
        request: Callable[[StepCommand], _Message],
    ) -> None:
        """`rpc` takes `batch(requests=[request(command), …])`, a `timeout` in seconds and
        `metadata`, in which `token()` goes."""
        self._token = token
        self._rpc = rpc
        self._batch = batch
        self._request = request

    async def __call__(self, commands: Sequence[StepCommand]) -> Sequence[Outcome]:
        """One bad item that fails the whole batch is found by halving it."""
        requests = [self._request(command) for command in commands]
        deadline = max(command.deadline_seconds for command in commands)
        with _steps(commands) as traces:
            for request, trace in zip(requests, traces, strict=True):
                request.traceparent = trace
            return await self._send(requests, deadline)

    async def _send(self, requests: Sequence[_Message], deadline: float) -> Sequence[Outcome]:
        try:
            response = await self._rpc(
                self._batch(requests=requests), timeout=deadline, metadata=bearer(self._token())
            )
        except grpc.aio.AioRpcError as error:
            status = status_of(error)
        else:
            return _outcomes(response.results, len(requests))
        if not is_about_an_item(status):
            return [outcome_of(status)] * len(requests)
        if len(requests) == 1:
            return [outcome_of(status)]
        middle = len(requests) // 2
        return [
            *await self._send(requests[:middle], deadline),
            *await self._send(requests[middle:], deadline),
        ]


def grpc_participants(
    *,
    inventory_channel: grpc.aio.Channel,
    payment_channel: grpc.aio.Channel,
    order_channel: grpc.aio.Channel,
    token: Token = lambda: "",
) -> Participants:
    """Every action that a saga may name; their calls carry `token()`, none where it is empty."""
    return {
        **_stock(inventory_channel, token),
        **_money(payment_channel, token),
        **_orders(order_channel, token),
    }


def _stock(channel: grpc.aio.Channel, token: Token) -> Participants:
    action = partial(GrpcBatchAction, token)
    stock = inventory_service_pb2_grpc.InventoryServiceStub(channel)
    return {
        inventory.reserve: action(
            stock.BatchReserveStock, inventory_service_pb2.BatchReserveStockRequest, _reserve
        ),
        inventory.release: action(
            stock.BatchReleaseStock, inventory_service_pb2.BatchReleaseStockRequest, _release
        ),
        inventory.commit: action(
            stock.BatchCommitStock, inventory_service_pb2.BatchCommitStockRequest, _commit
        ),
        inventory.restock: action(
            stock.BatchRestockItems, inventory_service_pb2.BatchRestockItemsRequest, _restock
        ),
    }


def _money(channel: grpc.aio.Channel, token: Token) -> Participants:
    action = partial(GrpcBatchAction, token)
    money = payment_service_pb2_grpc.PaymentServiceStub(channel)
    return {
        payment.authorize: action(
            money.BatchAuthorizePayments,
            payment_service_pb2.BatchAuthorizePaymentsRequest,
            _authorize,
        ),
        payment.void: action(
            money.BatchVoidPayments, payment_service_pb2.BatchVoidPaymentsRequest, _void
        ),
        payment.capture: action(
            money.BatchCapturePayments, payment_service_pb2.BatchCapturePaymentsRequest, _capture
        ),
        payment.refund: action(
            money.BatchRefundPayments, payment_service_pb2.BatchRefundPaymentsRequest, _refund
        ),
    }


def _orders(channel: grpc.aio.Channel, token: Token) -> Participants:
    action = partial(GrpcBatchAction, token)
    orders = order_saga_service_pb2_grpc.OrderSagaServiceStub(channel)
    return {
        order.confirm: action(
            orders.BatchConfirmOrders, order_saga_service_pb2.BatchConfirmOrdersRequest, _confirm
        ),
        order.close: action(
            orders.BatchCloseOrders, order_saga_service_pb2.BatchCloseOrdersRequest, _close
        ),
    }


@contextmanager
def _steps(commands: Sequence[StepCommand]) -> Iterator[Sequence[str]]:
    """A span of each step in its saga's trace, and one of the batch; what each command carries."""
    tracer = installed()
    if tracer is None:
        yield [command.traceparent for command in commands]
        return
    spans = [_step(tracer, command) for command in commands]
    recorded = [span for span in spans if span is not None]
    try:
        with joint_of(f"batch {commands[0].action}", recorded, {"trackops.batch.size": len(spans)}):
            yield [
                command.traceparent if span is None else span.traceparent
                for command, span in zip(commands, spans, strict=True)
            ]
    finally:
        for span in recorded:
            span.finish()


def _step(tracer: Tracer, command: StepCommand) -> Span | None:
    if not is_sampled(command.traceparent):
        return None
    name = command.step if command.phase is Phase.ACTION else f"compensate {command.step}"
    span = tracer.span(name, Kind.INTERNAL, command.traceparent)
    span.attributes["trackops.saga.id"] = str(command.saga_id)
    span.attributes["trackops.saga.subject"] = command.subject
    return span


def _outcomes(results: Sequence[_Message], expected: int) -> Sequence[Outcome]:
    if len(results) != expected:
        return [Unknown(f"{len(results)} results for {expected} requests")] * expected
    return [_of_item(outcome_of(one.error)) if one.HasField("error") else _DONE for one in results]


def _of_item(outcome: Refused | Unknown) -> Outcome:
    return replace(outcome, reached=outcome.away) if isinstance(outcome, Unknown) else outcome


def _reserve(command: StepCommand) -> inventory_service_pb2.ReserveStockRequest:
    wanted = OrderToPlace.from_input(command.input)
    return inventory_service_pb2.ReserveStockRequest(
        request_id=command.request_id,
        order_id=command.subject,
        items=_stock_items(wanted.items),
    )


def _commit(command: StepCommand) -> inventory_service_pb2.CommitStockRequest:
    shipped = GoodsMoved.from_input(command.input)
    return inventory_service_pb2.CommitStockRequest(
        request_id=command.request_id,
        order_id=command.subject,
        items=_stock_items(shipped.items),
    )


def _restock(command: StepCommand) -> inventory_service_pb2.RestockItemsRequest:
    returned = GoodsMoved.from_input(command.input)
    return inventory_service_pb2.RestockItemsRequest(
        request_id=command.request_id,
        order_id=command.subject,
        items=_stock_items(returned.items),
    )


def _stock_items(items: Iterable[tuple[str, int]]) -> Iterable[inventory_pb2.StockItem]:
    return [inventory_pb2.StockItem(sku=sku, quantity=quantity) for sku, quantity in items]


def _release(command: StepCommand) -> inventory_service_pb2.ReleaseStockRequest:
    return inventory_service_pb2.ReleaseStockRequest(
        request_id=command.request_id, order_id=command.subject
    )


def _authorize(command: StepCommand) -> payment_service_pb2.AuthorizePaymentRequest:
    wanted = OrderToPlace.from_input(command.input)
    return payment_service_pb2.AuthorizePaymentRequest(
        request_id=command.request_id,
        order_id=command.subject,
        amount_minor=wanted.amount_minor,
        currency_code=wanted.currency_code,
        payment_method_token=wanted.payment_method_token,
    )


def _void(command: StepCommand) -> payment_service_pb2.VoidPaymentRequest:
    return payment_service_pb2.VoidPaymentRequest(
        request_id=command.request_id, order_id=command.subject
    )


def _capture(command: StepCommand) -> payment_service_pb2.CapturePaymentRequest:
    shipped = GoodsMoved.from_input(command.input)
    return payment_service_pb2.CapturePaymentRequest(
        request_id=command.request_id,
        order_id=command.subject,
        amount_minor=shipped.amount_minor,
    )


def _refund(command: StepCommand) -> payment_service_pb2.RefundPaymentRequest:
    returned = GoodsMoved.from_input(command.input)
    return payment_service_pb2.RefundPaymentRequest(
        request_id=command.request_id,
        order_id=command.subject,
        amount_minor=returned.amount_minor,
    )


def _confirm(command: StepCommand) -> order_saga_service_pb2.ConfirmOrderRequest:
    return order_saga_service_pb2.ConfirmOrderRequest(
        request_id=command.request_id, order_id=command.subject
    )


def _close(command: StepCommand) -> order_saga_service_pb2.CloseOrderRequest:
    """A saga that did not fail closes an order because its cancellation was asked for."""
    failure = command.failure or Failure("CANCELLATION_REQUESTED", "")
    return order_saga_service_pb2.CloseOrderRequest(
        request_id=command.request_id,
        order_id=command.subject,
        reason=failure.reason,
        message=failure.message,
    )
