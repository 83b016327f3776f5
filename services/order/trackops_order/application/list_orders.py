"""List orders, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from trackops_common.idempotency import fingerprint
from trackops_common.page_tokens import PageTokens
from trackops_order.domain.order import Order
from trackops_order.domain.states import OrderState

__all__ = [
    "EncodePage",
    "ListOrders",
    "Listing",
    "OrderLister",
    "OrderPage",
    "PageRequest",
    "Place",
    "Sort",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_BYTES = 8


class Sort(StrEnum):
    """In which direction a listing goes through creation times."""

    NEWEST_FIRST = "NEWEST_FIRST"
    OLDEST_FIRST = "OLDEST_FIRST"


@dataclass(frozen=True, slots=True)
class Listing:
    """Which orders, and in which order; None and the empty set do not narrow it."""

    sort: Sort = Sort.NEWEST_FIRST
    customer_id: str | None = None
    states: frozenset[OrderState] = frozenset()
    create_time_from: datetime | None = None
    create_time_before: datetime | None = None
    sku: str | None = None

    def fingerprint(self) -> bytes:
        """Differs where the listing does."""
        return fingerprint(
            [
                "ListOrders",
                self.sort,
                self.customer_id,
                sorted(self.states),
                str(self.create_time_from),
                str(self.create_time_before),
                self.sku,
            ]
        )


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place among all orders. Neither part ever changes, so no order moves past it."""

    create_time: datetime
    order_id: UUID

    def to_bytes(self) -> bytes:
        microseconds = (self.create_time - _EPOCH) // _MICROSECOND
        return microseconds.to_bytes(_TIME_BYTES, signed=True) + self.order_id.bytes

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Place:
        microseconds = int.from_bytes(encoded[:_TIME_BYTES], signed=True)
        return cls(_EPOCH + microseconds * _MICROSECOND, UUID(bytes=encoded[_TIME_BYTES:]))


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Some of a listing's orders, and where the next page goes on; None at the end."""

    orders: Sequence[Order]
    end: Place | None


class OrderLister(Protocol):
    """Reads committed orders in the order of their places."""

    def page(self, listing: Listing, *, after: Place | None, size: int) -> OrderPage:
        """At most `size` matching orders beyond `after`, as the listing's sort goes.

        They come without their details, which would be most of what is read and sent.
        A page may be shorter than `size`, or empty, before the end is reached.

        While others write, pages taken one after the other until `end` is None have each
        matching order that was committed before the first of them exactly once, and none twice.
        Oldest first, they have moreover every order that will ever be placed before the last
        one shown: the newest orders wait until no unit of work that is still open can place
        one before them. Newest first, an order is shown as soon as it is committed.
        """
        ...


EncodePage = Callable[[Sequence[Order], str], bytes]
"""Orders and the token of the next page as the response that shows them, in wire form."""


@dataclass(frozen=True)
class PageRequest:
    """One page of a listing, of at most `size` orders; the first, if `token` is empty."""

    listing: Listing
    size: int
    token: str = ""


@dataclass(frozen=True)
class ListOrders:
    """Reads a page; its token is good for the same listing only."""

    lister: OrderLister
    tokens: PageTokens
    encode: EncodePage

    def __call__(self, request: PageRequest) -> bytes:
        """The encoded page.

        Raises:
            PageTokenInvalid: altered, or the token of another listing.
        """
        scope = request.listing.fingerprint()
        after = self._place(request.token, scope) if request.token else None
        page = self.lister.page(request.listing, after=after, size=request.size)
        token = self.tokens.seal(page.end.to_bytes(), listing=scope) if page.end else ""
        return self.encode(page.orders, token)

    def _place(self, token: str, scope: bytes) -> Place:
        return Place.from_bytes(self.tokens.open(token, listing=scope))
