"""`trackops.payment.v1.PaymentService`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from trackops.payment.v1 import payment_service_pb2

from trackops_common.auth import principal_of
from trackops_common.batching import Batcher
from trackops_common.grpc.endpoints import Context, Encoded, batch_results, unwrap
from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.authorize_payments import AuthorizePayment
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.errors import PaymentNotFound
from trackops_payment.entrypoints.converters import authorize_command, void_command
from trackops_payment.entrypoints.errors import payment_failure

__all__ = ["PaymentServicer"]


@dataclass(frozen=True)
class PaymentServicer:
    """Answers PaymentService; the contract's comments say what each RPC promises."""

    authorizations: Batcher[AuthorizePayment, PaymentOutcome]
    voids: Batcher[VoidPayment, PaymentOutcome]
    reads: Batcher[UUID, bytes | PaymentNotFound]

    async def AuthorizePayment(
        self, request: payment_service_pb2.AuthorizePaymentRequest, context: Context
    ) -> Encoded:
        command = authorize_command(request, principal_of(context))
        return unwrap(
            await self.authorizations.submit(command, timeout_seconds=context.time_remaining())
        )

    async def BatchAuthorizePayments(
        self, request: payment_service_pb2.BatchAuthorizePaymentsRequest, context: Context
    ) -> payment_service_pb2.BatchAuthorizePaymentsResponse:
        principal = principal_of(context)
        outcomes = await self.authorizations.submit_all(
            [authorize_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return payment_service_pb2.BatchAuthorizePaymentsResponse(
            results=batch_results(
                outcomes,
                payment_service_pb2.AuthorizePaymentResult,
                payment_service_pb2.AuthorizePaymentResponse,
                payment_failure,
            )
        )

    async def VoidPayment(
        self, request: payment_service_pb2.VoidPaymentRequest, context: Context
    ) -> Encoded:
        command = void_command(request, principal_of(context))
        return unwrap(await self.voids.submit(command, timeout_seconds=context.time_remaining()))

    async def BatchVoidPayments(
        self, request: payment_service_pb2.BatchVoidPaymentsRequest, context: Context
    ) -> payment_service_pb2.BatchVoidPaymentsResponse:
        principal = principal_of(context)
        outcomes = await self.voids.submit_all(
            [void_command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return payment_service_pb2.BatchVoidPaymentsResponse(
            results=batch_results(
                outcomes,
                payment_service_pb2.VoidPaymentResult,
                payment_service_pb2.VoidPaymentResponse,
                payment_failure,
            )
        )

    async def GetPayment(
        self, request: payment_service_pb2.GetPaymentRequest, context: Context
    ) -> Encoded:
        order_id = UUID(request.order_id)
        return unwrap(await self.reads.submit(order_id, timeout_seconds=context.time_remaining()))
