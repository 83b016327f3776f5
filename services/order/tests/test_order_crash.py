"""A service that dies between commit and answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import grpc
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.racing import waits_for_a_lock
from trackops_common.testing import TcpLink
from trackops_order.testing import OrderServer, OrderServices, confirm_request, create_request

ROLE = "trackops_order"
NO_REDIS = "redis://127.0.0.1:1/0"
IN_ONE_CALL = 20
ALONE = 30

_COUNT = "SELECT {0}, count(*) FROM {1} GROUP BY 1"
_OUTBOX = "hashtextextended(current_schema() || '.outbox', 0)"


def _stored(rows: Database) -> dict[bytes, bytes]:
    """Every answer that is kept, by its key."""
    found = rows.fetch("SELECT request_key, response FROM requests")
    stored = {row[0].bytes: bytes(row[1]) for row in found}
    assert len(stored) == len(found)
    return stored


def _die_unheard(
    service: OrderServer,
    link: TcpLink,
    rows: Database,
    *,
    ask: Callable[[], object],
    ask_more: Callable[[], object] = lambda: None,
) -> None:
    """Kill the service after Postgres has committed what `ask` makes it write, unknown to it.

    The commit is sent in one string with the wish for the outbox lock, which is held here: so it
    is under way already when the link falls silent. What `ask_more` asks for waits behind it.
    """
    before = len(_stored(rows))
    with rows.transaction() as holder:
        holder.execute(f"SELECT pg_advisory_xact_lock({_OUTBOX})")
        ask()
        wait_for(lambda: waits_for_a_lock(rows), what="a batch at the outbox lock")
        ask_more()
        link.hush()
    wait_for(lambda: len(_stored(rows)) > before, what="the commit")
    service.process.kill()


def _serve_through(services: OrderServices, database: FreshDatabase) -> tuple[OrderServer, TcpLink]:
    url = urlsplit(database.url(ROLE))
    assert url.port is not None
    link = TcpLink(url.port)
    netloc = url.netloc.replace(str(url.port), str(link.port))
    return services.serve(url._replace(netloc=netloc).geturl(), NO_REDIS), link


def test_what_was_committed_and_not_answered_gets_the_stored_answer_of_the_next_process(
    services: OrderServices, database: FreshDatabase, schema: Database
) -> None:
    service, link = _serve_through(services, database)
    together = order_service_pb2.BatchCreateOrdersRequest(
        requests=[create_request() for _ in range(IN_ONE_CALL)]
    )
    alone = [create_request() for _ in range(ALONE)]
    answers: list[Any] = []

    def ask_together() -> None:
        answers.append(service.orders.BatchCreateOrders.future(together, timeout=60))

    def ask_alone() -> None:
        answers.extend(service.orders.CreateOrder.future(one, timeout=60) for one in alone)

    with closing(link):
        _die_unheard(service, link, schema, ask=ask_together, ask_more=ask_alone)

    committed = _stored(schema)
    assert len(answers) == 1 + ALONE
    for answer in answers:
        error = answer.exception()
        assert isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAVAILABLE
    assert len(committed) == IN_ONE_CALL

    successor = services.serve(database.url(ROLE), NO_REDIS)
    batch = successor.orders.BatchCreateOrders(together)
    repeated = [
        *(result.response.SerializeToString() for result in batch.results),
        *(successor.orders.CreateOrder(one).SerializeToString() for one in alone),
    ]

    ids = [
        uuid.UUID(order_service_pb2.CreateOrderResponse.FromString(one).order.order_id)
        for one in repeated
    ]
    answered = dict(zip((id_.bytes for id_ in ids), repeated, strict=True))
    assert len(answered) == IN_ONE_CALL + ALONE
    assert committed.items() <= answered.items()
    assert _stored(schema) == answered
    assert _orders(schema) == _events(schema) == {str(id_): 1 for id_ in ids}


def test_a_shipment_that_was_committed_and_not_answered_leaves_once(
    services: OrderServices, database: FreshDatabase, schema: Database
) -> None:
    service, link = _serve_through(services, database)
    order_id = service.orders.CreateOrder(create_request()).order.order_id
    service.sagas.ConfirmOrder(confirm_request(order_id))
    request = order_service_pb2.ShipOrderRequest(
        request_id=str(uuid.uuid4()),
        order_id=order_id,
        lines=[order_pb2.Pieces(sku="SKU-3", quantity=1)],
        carrier="UPS",
        tracking_number="1Z999",
    )
    known = _stored(schema)
    answers: list[Any] = []
    with closing(link):
        _die_unheard(
            service,
            link,
            schema,
            ask=lambda: answers.append(service.orders.ShipOrder.future(request, timeout=60)),
        )
    (committed,) = _stored(schema).items() - known.items()
    assert answers[0].exception() is not None

    successor = services.serve(database.url(ROLE), NO_REDIS)
    repeated = successor.orders.ShipOrder(request)

    assert repeated.SerializeToString() == committed[1]
    assert (repeated.order.version, repeated.order.lines[2].shipped_quantity) == (3, 1)
    assert _events(schema) == {order_id: 3}


def _orders(rows: Database) -> dict[str, int]:
    return {str(row[0]): row[1] for row in rows.fetch(_COUNT.format("order_id", "orders"))}


def _events(rows: Database) -> dict[str, int]:
    return {str(row[0]): row[1] for row in rows.fetch(_COUNT.format("key", "outbox"))}
