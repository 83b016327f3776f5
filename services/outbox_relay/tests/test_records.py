"""What the records of the checkpoint topic say, and whether all of them are there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trackops_outbox_relay.adapters.records import (
    is_complete,
    records_of,
    remains_of,
    standing_of,
)
from trackops_outbox_relay.domain.checkpoint import Checkpoint
from trackops_outbox_relay.domain.errors import QuarantineLost
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined, QuarantineReason
from trackops_outbox_relay.domain.standing import OperationMark, Standing, Step

ORDER = "trackops_order"
FAULT = Fault(QuarantineReason.TOO_LARGE, "9 bytes")
HELD = {
    key: Quarantined(key, seq, FAULT, datetime(2026, 1, 1, tzinfo=UTC))
    for key, seq in (("a", 3), ("b/c", 5))
}
STANDING = Standing(Checkpoint(9, "event-9"), HELD, OperationMark("operation", "done"))


def _records(standing: Standing = STANDING) -> dict[bytes, bytes | None]:
    step = Step(standing, changes=standing.quarantine)
    return {key.encode(): value for key, value in records_of(ORDER, step)}


def test_a_standing_comes_back_as_it_was() -> None:
    assert is_complete(ORDER, _records())
    assert standing_of(ORDER, _records()) == STANDING
    assert standing_of(ORDER, {}) is None


@pytest.mark.parametrize("lost", [{"a"}, {"a", "b/c"}])
def test_a_checkpoint_that_counts_more_keys_than_there_are_is_refused(lost: set[str]) -> None:
    records = _records()
    for key in lost:
        records[f"{ORDER}/{key}".encode()] = None

    assert not is_complete(ORDER, records)
    with pytest.raises(QuarantineLost, match=f"2 of its keys .* only {2 - len(lost)} of"):
        standing_of(ORDER, records)
    left = {key: one for key, one in HELD.items() if key not in lost}
    assert remains_of(ORDER, records).quarantine == left


def test_a_record_of_a_key_that_the_checkpoint_does_not_count_is_refused_too() -> None:
    uncounted = _records(Standing(Checkpoint(9, "event-9")))

    with pytest.raises(QuarantineLost):
        standing_of(ORDER, _records() | uncounted)


def test_records_of_other_sources_are_not_its_own() -> None:
    others = {key.replace(b"order", b"orders"): value for key, value in _records().items()}

    assert standing_of(ORDER, others) is None
    assert standing_of(ORDER, _records() | others) == STANDING
