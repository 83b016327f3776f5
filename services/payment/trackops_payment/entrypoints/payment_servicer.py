"""`trackops.payment.v1.PaymentService`."""

from __future__ import annotations

from uuid import UUID

from trackops.payment.v1 import payment_service_pb2

from trackops_common.batching import Batcher
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import Context, Encoded, unwrap
from trackops_payment.application.asking import PaymentOutcome
from trackops_payment.application.authorize_payments import AuthorizePayment
from trackops_payment.application.move_payments import MovePayment
from trackops_payment.application.void_payments import VoidPayment
from trackops_payment.domain.errors import PaymentNotFound
from trackops_payment.entrypoints.converters import (
    authorize_command,
    capture_command,
    refund_command,
    void_command,
)
from trackops_payment.entrypoints.errors import payment_failure

__all__ = ["PaymentServicer"]


class PaymentServicer:
    """Answers PaymentService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        authorizations: Batcher[AuthorizePayment, PaymentOutcome],
        voids: Batcher[VoidPayment, PaymentOutcome],
        captures: Batcher[MovePayment, PaymentOutcome],
        refunds: Batcher[MovePayment, PaymentOutcome],
        reads: Batcher[UUID, bytes | PaymentNotFound],
    ) -> None:
        pb = payment_service_pb2
        authorize = CommandRpc(
            authorizations, authorize_command, pb.BatchAuthorizePaymentsResponse, payment_failure
        )
        void = CommandRpc(voids, void_command, pb.BatchVoidPaymentsResponse, payment_failure)
        capture = CommandRpc(
            captures, capture_command, pb.BatchCapturePaymentsResponse, payment_failure
        )
        refund = CommandRpc(
            refunds, refund_command, pb.BatchRefundPaymentsResponse, payment_failure
        )
        self.AuthorizePayment, self.BatchAuthorizePayments = authorize.one, authorize.many
        self.VoidPayment, self.BatchVoidPayments = void.one, void.many
        self.CapturePayment, self.BatchCapturePayments = capture.one, capture.many
        self.RefundPayment, self.BatchRefundPayments = refund.one, refund.many
        self._reads = reads

    async def GetPayment(
        self, request: payment_service_pb2.GetPaymentRequest, context: Context
    ) -> Encoded:
        order_id = UUID(request.order_id)
        return unwrap(await self._reads.submit(order_id, timeout_seconds=context.time_remaining()))
