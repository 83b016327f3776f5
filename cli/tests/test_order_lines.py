"""What an order's lines look like on a command line."""

import pytest
from trackops.order.v1.order_pb2 import Order, OrderLine, Pieces
from typer import BadParameter

from trackops_cli.order import lines


def test_a_line_names_sku_quantity_and_price() -> None:
    assert lines.order_lines(["TEA-1=2@300", "MUG=1@0"]) == [
        OrderLine(sku="TEA-1", quantity=2, unit_price_minor=300),
        OrderLine(sku="MUG", quantity=1, unit_price_minor=0),
    ]


@pytest.mark.parametrize(
    "word", ["", "TEA-1", "TEA-1=2", "TEA-1=x@3", "=2@3", "TEA-1=-2@3", "A=1@2 "]
)
def test_another_form_is_named(word: str) -> None:
    with pytest.raises(BadParameter, match="such as TEA-1=2@300"):
        lines.order_lines([word])


@pytest.mark.parametrize("word", ["TEA-1", "TEA-1=2@3", "TEA-1=two"])
def test_pieces_have_no_price(word: str) -> None:
    assert lines.pieces(["TEA-1=2"]) == [Pieces(sku="TEA-1", quantity=2)]
    with pytest.raises(BadParameter, match="such as TEA-1=2"):
        lines.pieces([word])


def test_what_is_left_is_what_can_move() -> None:
    order = Order(
        lines=[
            OrderLine(sku="A", quantity=5, shipped_quantity=2, returned_quantity=1),
            OrderLine(sku="B", quantity=1, shipped_quantity=1, returned_quantity=1),
            OrderLine(sku="C", quantity=3),
        ]
    )

    assert lines.written(lines.shippable(order)) == "--sku A=3 --sku C=3"
    assert lines.written(lines.returnable(order)) == "--sku A=1"
