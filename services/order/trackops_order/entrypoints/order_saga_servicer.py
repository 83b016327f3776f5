"""`trackops.order.v1.OrderSagaService`."""

from __future__ import annotations

from trackops.order.v1 import order_saga_service_pb2

from trackops_common.batching import Batcher
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_order.application.change_orders import ChangeOutcome
from trackops_order.application.close_orders import CloseOrder
from trackops_order.application.confirm_orders import ConfirmOrder
from trackops_order.entrypoints.converters import close_command, confirm_command
from trackops_order.entrypoints.errors import order_failure

__all__ = ["OrderSagaServicer"]


class OrderSagaServicer:
    """Answers OrderSagaService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        confirmations: Batcher[ConfirmOrder, ChangeOutcome],
        closures: Batcher[CloseOrder, ChangeOutcome],
    ) -> None:
        pb = order_saga_service_pb2
        confirm = CommandRpc(
            confirmations, confirm_command, pb.BatchConfirmOrdersResponse, order_failure
        )
        close = CommandRpc(closures, close_command, pb.BatchCloseOrdersResponse, order_failure)
        self.ConfirmOrder, self.BatchConfirmOrders = confirm.one, confirm.many
        self.CloseOrder, self.BatchCloseOrders = close.one, close.many
