"""What a run says of itself minute by minute."""

from __future__ import annotations

from .mesh.checker import Facts
from .mesh.checker.facts import Vitals
from .mesh.history import Call, History, Outcome
from .mesh.minutes import Minute, minutes

BEGIN = 1_000_000.0


def create(at: float, seconds: float, outcome: Outcome = Outcome.ACKNOWLEDGED) -> Call:
    began = BEGIN + at
    return Call("create", "r", "o", "ada", outcome, "OK", "", began, began + seconds)


def facts() -> Facts:
    history = History()
    for call in (
        create(0, 0.010),
        create(30, 0.030),
        create(31, 5, Outcome.UNKNOWN),
        create(70, 0.200),
        create(130, 0.001),
    ):
        history.note(call)
    return Facts(
        history=history,
        confirm_times=[BEGIN + at for at in (1, 59.9, 60.1)],
        vitals=[
            Vitals("order/1 (7)", BEGIN + 10, 100, 1),
            Vitals("order/1 (8)", BEGIN + 20, 120, 1),
            Vitals("payment/1 (9)", BEGIN + 20, 50, 1),
            Vitals("order/1 (8)", BEGIN + 80, 130, 1),
        ],
    )


def test_each_whole_minute_has_its_figures() -> None:
    first, second = minutes(facts())

    assert (first.number, first.confirmed, round(first.median_ms), first.memory_mib) == (
        0,
        2,
        20,
        160,
    )
    assert 29 < first.p99_ms <= 30.1
    assert (second.confirmed, round(second.median_ms), second.memory_mib) == (1, 200, 130)


def test_a_run_without_a_call_has_no_minutes() -> None:
    assert minutes(Facts()) == []


def test_a_minute_in_which_nothing_was_acknowledged_is_there_too() -> None:
    history = History()
    for call in (create(0, 0.01), create(130, 0.01)):
        history.note(call)

    assert minutes(Facts(history=history))[1] == Minute(1, 0, 0.0, 0.0, 0.0)
