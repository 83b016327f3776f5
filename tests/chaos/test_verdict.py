"""The judge of the rounds sees what is wrong."""

from __future__ import annotations

import pytest

from .relay_world import SOURCES, Reader, Verdict, judge

ORDER, INVENTORY = SOURCES[:2]
WRITTEN = {ORDER: ["a1", "b1", "a2", "b2"], INVENTORY: ["a1"]}


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ("a1 a2 b1 b2", Verdict(5, 5, lost=0, doubled=0, out_of_order=0)),
        ("a1 b1 b2", Verdict(5, 4, lost=1, doubled=0, out_of_order=0)),
        ("a1 a2 b1 b1 b2", Verdict(5, 6, lost=0, doubled=1, out_of_order=0)),
        ("a2 a1 b1 b2", Verdict(5, 5, lost=0, doubled=0, out_of_order=1)),
        ("a1 b1 b1 b2", Verdict(5, 5, lost=1, doubled=1, out_of_order=0)),
    ],
)
def test_each_loss_double_and_disorder_is_counted(seen: str, verdict: Verdict) -> None:
    reader = Reader("", "")
    reader.seen[INVENTORY] = [("a", "a1")]
    reader.seen[ORDER] = [(event_id[0], event_id) for event_id in seen.split()]

    assert judge(WRITTEN, reader) == verdict
    assert verdict.sound == (seen == "a1 a2 b1 b2")
