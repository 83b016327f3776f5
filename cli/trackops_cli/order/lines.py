"""Lines of an order as they are written on a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import typer
from trackops.order.v1.order_pb2 import Order, OrderLine, Pieces

__all__ = ["order_lines", "pieces", "returnable", "shippable", "written"]

_LINE = re.compile(r"(?P<sku>[^=@\s]+)=(?P<quantity>[0-9]{1,7})@(?P<price>[0-9]{1,13})")
_PIECES = re.compile(r"(?P<sku>[^=@\s]+)=(?P<quantity>[0-9]{1,7})")


def order_lines(words: Sequence[str]) -> list[OrderLine]:
    """`TEA-1=2@300`: two pieces of TEA-1 at 300 minor units each."""
    return [
        OrderLine(
            sku=found["sku"],
            quantity=int(found["quantity"]),
            unit_price_minor=int(found["price"]),
        )
        for found in (
            _match(_LINE, word, "SKU=QUANTITY@PRICE, such as TEA-1=2@300") for word in words
        )
    ]


def pieces(words: Sequence[str]) -> list[Pieces]:
    """`TEA-1=2`: two pieces of TEA-1."""
    return [
        Pieces(sku=found["sku"], quantity=int(found["quantity"]))
        for found in (_match(_PIECES, word, "SKU=QUANTITY, such as TEA-1=2") for word in words)
    ]


def shippable(order: Order) -> list[Pieces]:
    """All that has not left yet."""
    return _some((line.sku, line.quantity - line.shipped_quantity) for line in order.lines)


def returnable(order: Order) -> list[Pieces]:
    """All that has left and is not back."""
    return _some((line.sku, line.shipped_quantity - line.returned_quantity) for line in order.lines)


def written(wanted: Sequence[Pieces]) -> str:
    """The options that say the same."""
    return " ".join(f"--sku {one.sku}={one.quantity}" for one in wanted)


def _some(counted: Iterable[tuple[str, int]]) -> list[Pieces]:
    return [Pieces(sku=sku, quantity=quantity) for sku, quantity in counted if quantity > 0]


def _match(pattern: re.Pattern[str], word: str, form: str) -> re.Match[str]:
    found = pattern.fullmatch(word)
    if found is None:
        raise typer.BadParameter(f"{word!r} is not {form}", param_hint="--sku")
    return found
