"""A whole mesh for orders that are to be confirmed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import grpc
import psycopg2
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

from bench.generator import load
from bench.run import Run
from bench.tokens import bearer, call_as_admin_of
from trackops_cli.local.edge import Edge
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack, wait_for
from trackops_edge.settings import Limits

__all__ = ["all_ended", "mesh", "warm_up"]

_SKUS = 100
_WARM_UP_SECONDS = 2
_WARM_UP_RATE = 150
_STUCK_SECONDS = 60
_UNENDED = """
SELECT (SELECT count(*) FROM trackops_order.orders WHERE state = 'PENDING')
     + (SELECT count(*) FROM trackops_saga_orchestrator.sagas
         WHERE state IN ('RUNNING', 'COMPENSATING'))
"""


@contextmanager
def mesh(run: Run, edge_limits: Limits | None = None) -> Iterator[LocalStack]:
    """Every server and service, and the edge; calls are an administrator's.

    Without `edge_limits`, those that the edge has by itself.
    """
    with temporary_stack() as stack:
        stack.edge = Edge(stack.context, stack.addresses, edge_limits)
        run.say("starting the whole mesh")
        stack.up()
        call_as_admin_of(stack)
        yield stack


def warm_up(run: Run, stack: LocalStack) -> None:
    """Fill the shelves, so that no order of the loads is ever short of stock, and confirm a few.

    The first orders find consumers that are still joining, and statements that are not prepared.
    """
    _fill_shelves(stack)
    target = stack.addresses.services["order"]
    load(run, "create-order", target, seconds=_WARM_UP_SECONDS, rate=_WARM_UP_RATE)
    all_ended(stack)


def _fill_shelves(stack: LocalStack) -> None:
    adjustments = [
        inventory_service_pb2.AdjustStockRequest(
            request_id=str(uuid.uuid4()), sku=f"BENCH-{number}", delta=100_000_000
        )
        for number in range(_SKUS)
    ]
    with grpc.insecure_channel(stack.addresses.services["inventory"]) as channel:
        InventoryServiceStub(channel).BatchAdjustStock(
            inventory_service_pb2.BatchAdjustStockRequest(requests=adjustments), metadata=bearer()
        )


def all_ended(stack: LocalStack, *, seconds: float = _STUCK_SECONDS) -> None:
    """Returns once no order is PENDING and no saga goes on: the next round has all for itself.

    Raises:
        TimeoutError: there still is one after `seconds`.
    """
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:

        def none_is_left() -> bool:
            cursor.execute(_UNENDED)
            connection.commit()
            return cursor.fetchone() == (0,)

        wait_for(none_is_left, seconds=seconds, what="the orders to end")
