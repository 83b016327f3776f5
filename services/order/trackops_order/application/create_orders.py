"""Accept orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from uuid import UUID

from trackops_common.clock import Clock
from trackops_common.errors import PermissionDenied, RequestIdExpired, RequestIdReused
from trackops_common.idempotency import JsonValue, RequestLedger, fingerprint, request_key
from trackops_common.permissions import Permission
from trackops_common.tracing import current_traceparent
from trackops_order.application.ports import EncodeOrder, OrderCache, UnitOfWorkFactory
from trackops_order.domain.details import OrderDetails
from trackops_order.domain.errors import InvalidOrder
from trackops_order.domain.events import OrderPlaced
from trackops_order.domain.goods import OrderLine
from trackops_order.domain.order import Order

__all__ = ["CreateOrder", "CreateOrders"]


@dataclass(frozen=True)
class CreateOrder:
    """Accept one order. The request's key is the new order's id."""

    principal: str
    request_id: str
    customer_id: str
    currency_code: str
    lines: Sequence[OrderLine]
    payment_method_token: str
    details: OrderDetails | None = None
    owner: str = field(default="", kw_only=True, compare=False)
    """The customer for whom alone orders may be made; empty: anybody. No part of what is asked."""
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """Of the call; no part of what is asked."""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id)

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint(
            [
                "CreateOrder",
                self.customer_id,
                self.currency_code,
                [[line.sku, line.quantity, line.unit_price_minor] for line in self.lines],
                self.payment_method_token,
                *self._detailed,
            ]
        )

    @property
    def _detailed(self) -> Sequence[JsonValue]:
        """Without details, a request has the hash that it had before there were any."""
        return [] if self.details is None else [asdict(self.details)]


CreateOrderOutcome = bytes | InvalidOrder | PermissionDenied | RequestIdReused | RequestIdExpired

_Refusal = InvalidOrder | PermissionDenied


@dataclass(frozen=True)
class CreateOrders:
    """Accepts many orders in one transaction; each succeeds or fails alone.

    The primary key guards against a second order for one request, so a repeat is
    recognised by its order being there already.
    """

    unit_of_work: UnitOfWorkFactory
    cache: OrderCache
    encode: EncodeOrder
    clock: Clock

    def __call__(self, commands: Sequence[CreateOrder]) -> Sequence[CreateOrderOutcome]:
        with self.unit_of_work() as work:
            now = self.clock.now()  # once it has begun: listings count on that
            attempts = [_place(command, now) for command in commands]
            facts = _first_of_each(attempts)
            added = work.orders.add([fact.order for fact in facts])
            repeated = {command.request_key for command in commands} - added
            ledger = RequestLedger(work.requests.find(repeated) if repeated else ())
            outcomes = [
                self._answer(command, attempt, added, ledger)
                for command, attempt in zip(commands, attempts, strict=True)
            ]
            work.requests.save(ledger.new)
            new = [fact for fact in facts if fact.order.order_id in added]
            traces = {
                id(attempt): command.traceparent
                for command, attempt in zip(commands, attempts, strict=True)
            }
            work.commit(new, [traces[id(fact)] for fact in new])
        # Their ids may be known as unknown. Those of repeats too: their server may have died
        # before it told the cache.
        self.cache.supersede({fact.order.order_id: fact.order.version for fact in facts})
        return outcomes

    def _answer(
        self,
        command: CreateOrder,
        attempt: OrderPlaced | _Refusal,
        added: set[UUID],
        ledger: RequestLedger,
    ) -> CreateOrderOutcome:
        if (known := ledger.replay(command)) is not None:
            return known
        if isinstance(attempt, _Refusal):
            return attempt
        if command.request_key not in added:
            return RequestIdExpired(command.request_id)
        return ledger.record(command, self.encode(attempt.order))


def _place(command: CreateOrder, now: datetime) -> OrderPlaced | _Refusal:
    if command.owner not in ("", command.customer_id):
        return PermissionDenied(Permission.ORDERS_CREATE)
    try:
        return Order.place(
            command.request_key,
            customer_id=command.customer_id,
            currency_code=command.currency_code,
            lines=command.lines,
            payment_method_token=command.payment_method_token,
            details=command.details,
            now=now,
        )
    except InvalidOrder as error:
        return error


def _first_of_each(attempts: Sequence[OrderPlaced | _Refusal]) -> Sequence[OrderPlaced]:
    """The first order of each id; one that is not valid does not stand in a later one's way."""
    facts: dict[UUID, OrderPlaced] = {}
    for attempt in attempts:
        if isinstance(attempt, OrderPlaced):
            facts.setdefault(attempt.order.order_id, attempt)
    return list(facts.values())
