"""What the command shows of hostile texts, should a service or a log ever hold one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from trackops.order.v1 import order_pb2, order_service_pb2
from trackops.saga.v1 import saga_pb2

from trackops_cli.calls import print_json
from trackops_cli.order.show import print_change, print_order, print_orders
from trackops_cli.saga import commands
from trackops_cli.terminal import OUT, fail, say

from .strings import with_text
from .texts import TEXTS, harmful

ORDER = order_pb2.Order
SAGA = saga_pb2.Saga
CHANGE = order_service_pb2.WatchOrderResponse

SHOWN: list[tuple[type[Message], Callable[[Any], None]]] = [
    (ORDER, print_order),
    (ORDER, lambda order: print_orders([order])),
    (CHANGE, print_change),
    (SAGA, lambda saga: commands._print(saga, as_json=False)),
    (ORDER, print_json),
    (SAGA, print_json),
]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(("kind", "show"), SHOWN)
def test_nothing_that_is_shown_steers_the_terminal(
    kind: type[Message],
    show: Callable[[Any], None],
    text: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    show(with_text(kind.DESCRIPTOR, text))

    shown = capfd.readouterr().out
    assert shown
    assert harmful(shown) == ""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_that_is_said_steers_the_terminal(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    say(text)
    fail(1, text, [text])
    OUT.print(text, markup=False)

    out, err = capfd.readouterr()
    assert harmful(out + err) == ""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_json_says_the_text_itself(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    print_json(ORDER(note=text))

    assert json.loads(capfd.readouterr().out)["note"] == text


def test_what_would_steer_it_is_seen() -> None:
    with OUT.capture() as shown:
        OUT.print("a\x1b[0m", style="bold")

    assert "a\\x1b[0m" in shown.get()
