"""The records of the checkpoint topic: what a source's partition holds, encoded and decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC

from trackops.relay.v1 import relay_service_pb2 as pb

from trackops_outbox_relay.domain.checkpoint import Checkpoint
from trackops_outbox_relay.domain.errors import QuarantineLost
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined, QuarantineReason
from trackops_outbox_relay.domain.standing import OperationMark, Standing, Step

__all__ = [
    "belongs_to",
    "is_complete",
    "records_of",
    "remains_of",
    "standing_of",
]

_REASON_PREFIX = "QUARANTINE_REASON_"


def records_of(source: str, step: Step) -> Iterator[tuple[str, bytes | None]]:
    """Key and value of each record that a step writes, the checkpoint last."""
    for key, entry in step.changes.items():
        yield f"{source}/{key}", None if entry is None else _quarantine_record(entry)
    yield source, _checkpoint_record(step.standing)


def belongs_to(source: str, key: bytes) -> bool:
    """Whether a record of this key says anything about the source."""
    return key == source.encode() or key.startswith(f"{source}/".encode())


def is_complete(source: str, records: Mapping[bytes, bytes | None]) -> bool:
    """Whether the newest records, by key, hold all there is to know about the source."""
    value = records.get(source.encode())
    if value is None:
        return False
    return len(_live(source, records)) >= pb.CheckpointRecord.FromString(value).quarantined_keys


def standing_of(source: str, records: Mapping[bytes, bytes | None]) -> Standing | None:
    """What the newest records, by key, say; None where no checkpoint is among them.

    Raises:
        QuarantineLost: the checkpoint counts other than the records that are there.
    """
    value = records.get(source.encode())
    if value is None:
        return None
    expected = pb.CheckpointRecord.FromString(value).quarantined_keys
    standing = remains_of(source, records)
    if len(standing.quarantine) != expected:
        raise QuarantineLost(source, expected=expected, found=len(standing.quarantine))
    return standing


def remains_of(source: str, records: Mapping[bytes, bytes | None]) -> Standing:
    """What the newest records, by key, say, whether all are there or not."""
    record = pb.CheckpointRecord.FromString(records.get(source.encode()) or b"")
    entries = [_quarantined(source, *one) for one in _live(source, records).items()]
    mark = None
    if record.last_operation_id:
        mark = OperationMark(record.last_operation_id, record.last_operation_outcome)
    return Standing(
        Checkpoint(record.seq, record.event_id), {entry.key: entry for entry in entries}, mark
    )


def _live(source: str, records: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    checkpoint = source.encode()
    return {
        key: value
        for key, value in records.items()
        if value is not None and key != checkpoint and belongs_to(source, key)
    }


def _checkpoint_record(standing: Standing) -> bytes:
    record = pb.CheckpointRecord(
        seq=standing.checkpoint.seq,
        event_id=standing.checkpoint.event_id,
        quarantined_keys=len(standing.quarantine),
    )
    if standing.last_operation is not None:
        record.last_operation_id = standing.last_operation.operation_id
        record.last_operation_outcome = standing.last_operation.outcome
    return record.SerializeToString()


def _quarantine_record(entry: Quarantined) -> bytes:
    record = pb.QuarantineRecord(
        first_seq=entry.first_seq,
        reason=pb.QuarantineReason.Value(_REASON_PREFIX + entry.fault.reason),
        detail=entry.fault.detail,
    )
    record.quarantine_time.FromDatetime(entry.time)
    return record.SerializeToString()


def _quarantined(source: str, key: bytes, value: bytes) -> Quarantined:
    record = pb.QuarantineRecord.FromString(value)
    reason = pb.QuarantineReason.Name(record.reason).removeprefix(_REASON_PREFIX)
    return Quarantined(
        key.decode().removeprefix(f"{source}/"),
        record.first_seq,
        Fault(QuarantineReason(reason), record.detail),
        record.quarantine_time.ToDatetime(tzinfo=UTC),
    )
