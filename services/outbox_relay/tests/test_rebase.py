"""What a rebase makes of an outbox and a log."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from trackops.relay.v1 import relay_service_pb2 as pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_cli.testing import wait_for
from trackops_common.errors import TransientError
from trackops_common.testing import error_details, eventually, serving
from trackops_outbox_relay.adapters.checkpoints import KafkaCheckpoints
from trackops_outbox_relay.adapters.event_log import KafkaEventLog
from trackops_outbox_relay.bootstrap import bootstrap
from trackops_outbox_relay.domain.checkpoint import START, Checkpoint
from trackops_outbox_relay.domain.quarantine import Fault, Quarantined, QuarantineReason
from trackops_outbox_relay.domain.rebase import LogSpan, RowPlace, plan_rebase
from trackops_outbox_relay.domain.sources import partition_of
from trackops_outbox_relay.domain.standing import Standing
from trackops_outbox_relay.testing import RelayBench

ORDER = "trackops_order"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)


def _rows(*keys: str, at: datetime = NOW) -> list[RowPlace]:
    return [RowPlace(seq, f"id-{seq}", key, "topic", at) for seq, key in enumerate(keys, 1)]


def _log(*seqs: int, since: datetime = LONG_AGO) -> LogSpan:
    return LogSpan({f"id-{seq}": seq for seq in seqs}, since)


def test_the_checkpoint_is_the_last_row_that_the_log_has() -> None:
    plan = plan_rebase(Standing(), _rows(*"abcabc"), _log(1, 2, 3, 4), at=NOW)
    assert plan.checkpoint == Checkpoint(4, "id-4")
    assert (plan.rows_to_publish, plan.rows_in_log, plan.keys_to_quarantine) == (2, 4, 0)


def test_an_empty_log_means_to_publish_everything() -> None:
    plan = plan_rebase(Standing(), _rows(*"abc"), _log(), at=NOW)
    assert (plan.checkpoint, plan.rows_to_publish) == (START, 3)


def test_an_empty_outbox_means_to_begin_at_its_begin() -> None:
    plan = plan_rebase(Standing(), [], _log(1, 2), at=NOW)
    assert (plan.checkpoint, plan.events_not_in_outbox) == (START, 2)


def test_the_same_place_with_another_event_is_not_in_the_log() -> None:
    rows = _rows(*"ab")
    rows[1] = rows[1]._replace(event_id="written after the restore")
    plan = plan_rebase(Standing(), rows, _log(1, 2, 3), at=NOW)
    assert plan.checkpoint == Checkpoint(1, "id-1")
    assert plan.rows_to_publish == 1
    assert (plan.first_event_not_in_outbox, plan.last_event_not_in_outbox) == (2, 3)


def test_rows_that_the_log_lacks_wait_unless_their_key_went_on_without_them() -> None:
    plan = plan_rebase(Standing(), _rows(*"abcabc"), _log(1, 3, 5, 6), at=NOW)
    (held,) = plan.step.standing.quarantine.values()
    assert (held.key, held.first_seq, held.fault.reason) == ("a", 4, QuarantineReason.NOT_IN_LOG)
    assert plan.rows_passed_over == 1  # seq 2: seq 5 of its key is there


def test_what_was_in_quarantine_keeps_its_reason_and_what_no_longer_waits_leaves_it() -> None:
    fault = Fault(QuarantineReason.TOO_LARGE, "9 bytes")
    before = {key: Quarantined(key, seq, fault, NOW) for key, seq in (("a", 4), ("z", 9))}
    found = Standing(Checkpoint(9, "id-9"), before)
    plan = plan_rebase(found, _rows(*"abcabc"), _log(1, 2, 3, 5, 6), at=NOW)
    assert plan.step.standing.quarantine["a"].fault == fault
    assert plan.step.changes["z"] is None


def test_rows_older_than_the_log_count_as_published_and_quarantine_as_found() -> None:
    rows = [*_rows(*"aab", at=LONG_AGO), RowPlace(4, "id-4", "b", "topic", NOW)]
    fault = Fault(QuarantineReason.TOO_LARGE, "9 bytes")
    found = Standing(Checkpoint(3, "id-3"), {"a": Quarantined("a", 2, fault, NOW)})
    plan = plan_rebase(found, rows, _log(since=NOW - timedelta(days=7)), at=NOW)
    assert plan.checkpoint == Checkpoint(3, "id-3")
    assert (plan.rows_to_publish, plan.judged_from_seq) == (1, 4)
    assert plan.step.standing.quarantine == found.quarantine


def test_the_digest_names_the_outcome_and_not_the_moment() -> None:
    log = _log(1, 2)
    digest = plan_rebase(Standing(), _rows(*"ab"), log, at=NOW).digest
    assert plan_rebase(Standing(), _rows(*"abc"), log, at=LONG_AGO).digest == digest
    assert plan_rebase(Standing(), _rows(*"abc"), _log(1, 2, 3), at=NOW).digest != digest


class Operator:
    """One relay, and what is asked of it."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def refusal(self) -> str:
        """Why the relay refuses the source, once it does."""
        await eventually(self._refusal, seconds=30, what=f"{ORDER} refused")
        return await self._refusal()

    async def _refusal(self) -> str:
        answer = await self._stub.ListSources(pb.ListSourcesRequest())
        found: str = next(one.refusal for one in answer.sources if one.name == ORDER)
        return found

    async def plan(self) -> pb.RebasePlan:
        answer: pb.PlanRebaseResponse = await self._stub.PlanRebase(
            pb.PlanRebaseRequest(source=ORDER)
        )
        return answer.plan

    async def rebase(self, digest: str) -> pb.RebaseResponse:
        request = pb.RebaseRequest(
            request_id=str(uuid.uuid4()), source=ORDER, digest=digest, reason="restored"
        )
        answer: pb.RebaseResponse = await self._stub.Rebase(request)
        return answer


async def _publish(bench: RelayBench, ids: list[str]) -> None:
    """By a relay that then stops; exactly these are in the log."""
    async with bootstrap(bench.settings):
        await _published(bench, ids)


async def _published(bench: RelayBench, ids: list[str]) -> None:
    def there() -> bool:
        return len(bench.published(ORDER)) >= len(ids)

    await asyncio.to_thread(wait_for, there, what="the events")
    assert bench.published(ORDER) == ids


async def _rebase(bench: RelayBench, reason: str, **expected: int) -> None:
    """The source is refused for that reason; the plan is as expected, and is carried out."""
    async with bootstrap(bench.settings) as application, serving(application) as channel:
        operator = Operator(RelayServiceStub(channel))
        assert reason in await operator.refusal()
        with pytest.raises(grpc.aio.AioRpcError) as changed:
            await operator.rebase("0123")
        assert error_details(changed.value).reason == "REBASE_PLAN_CHANGED"
        plan = await operator.plan()
        assert {name: getattr(plan, name) for name in expected} == expected
        done = await operator.rebase(plan.digest)
        assert done.checkpoint == plan.checkpoint
        servicer = application.rpc_services[0].servicer
        await eventually(lambda: servicer.list_sources.progress.of(ORDER).refusal is None)  # type: ignore[attr-defined]
        with pytest.raises(grpc.aio.AioRpcError) as healthy:
            await operator.rebase(plan.digest)
        assert error_details(healthy.value).reason == "SOURCE_NOT_REFUSED"


async def test_a_database_restored_from_a_backup_goes_on_where_it_and_the_log_part(
    bench: RelayBench,
) -> None:
    ids = bench.write(ORDER, 120)
    await _publish(bench, ids)
    bench.databases[ORDER].execute("DELETE FROM outbox WHERE seq > 100")
    bench.databases[ORDER].execute("SELECT setval('outbox_seq', 100)")
    later = bench.write(ORDER, 30)
    await _rebase(
        bench,
        "went back to an older state",
        rows_to_publish=30,
        rows_in_log=100,
        events_not_in_outbox=20,
        first_event_not_in_outbox=101,
        last_event_not_in_outbox=120,
    )
    await _publish(bench, ids + later)


async def test_a_checkpoint_that_was_lost_is_found_again(bench: RelayBench) -> None:
    ids = bench.write(ORDER, 120)
    await _publish(bench, ids)
    _bury(bench, ORDER)
    ids += bench.write(ORDER, 5)
    await _rebase(bench, "has no record", rows_to_publish=5, rows_in_log=120)
    await _publish(bench, ids)


async def test_a_checkpoint_topic_made_again_is_filled_from_the_log(bench: RelayBench) -> None:
    """What waited in quarantine is not forgotten with it."""
    ids = bench.write(ORDER, 50)
    bench.write(ORDER, 1, key="held", topic="no.such.topic.v1")
    bench.write(ORDER, 1, key="held", topic="no topic/at all")
    ids += bench.write(ORDER, 50)
    await _publish(bench, ids)
    _make_again(bench)
    ids += bench.write(ORDER, 5)
    await _rebase(bench, "made again", rows_to_publish=5, rows_in_log=100, keys_to_quarantine=1)
    await _publish(bench, ids)


async def test_a_record_of_a_key_in_quarantine_that_was_lost_is_found_again(
    bench: RelayBench,
) -> None:
    ids = bench.write(ORDER, 20)
    bench.write(ORDER, 1, key="held", topic="no topic/at all")
    ids += bench.write(ORDER, 20)
    await _publish(bench, ids)
    _bury(bench, f"{ORDER}/held")
    ids += bench.write(ORDER, 5)
    await _rebase(
        bench,
        "1 of its keys are in quarantine, but the checkpoint topic holds only 0",
        rows_to_publish=5,
        rows_in_log=40,
        keys_to_quarantine=1,
    )
    await _publish(bench, ids)
    assert await asyncio.to_thread(_waiting, bench) == {"held": 21}


async def test_what_the_log_has_forgotten_is_not_judged(bench: RelayBench) -> None:
    """Its retention is over; a key whose only event went with it is not held back for that."""
    bench.write(ORDER, 1, key="early")
    bench.write(ORDER, 20)
    async with bootstrap(bench.settings):
        await asyncio.to_thread(wait_for, lambda: len(bench.published(ORDER)) == 21)
        since = datetime.now(UTC)
        kept = bench.write(ORDER, 20)
        await asyncio.to_thread(wait_for, lambda: len(bench.published(ORDER)) == 41)
    _expire(bench, keep=kept[0], since=since)
    _bury(bench, ORDER)
    later = bench.write(ORDER, 5)
    await _rebase(bench, "has no record", rows_in_log=20, rows_to_publish=5, keys_to_quarantine=0)
    await _publish(bench, kept + later)


def _bury(bench: RelayBench, key: str) -> None:
    """The checkpoint topic forgets the record of this key."""
    producer = Producer({"bootstrap.servers": bench.settings.kafka_bootstrap_servers})
    producer.produce(bench.settings.checkpoint_topic, None, key, partition=partition_of(ORDER, 8))
    assert producer.flush(10) == 0


def _expire(bench: RelayBench, *, keep: str, since: datetime) -> None:
    """The event topic forgets what is before this event, published after `since`."""
    servers = bench.settings.kafka_bootstrap_servers
    place = KafkaEventLog(bench.settings.kafka).find(bench.topic, {keep: since})[keep]
    begin = TopicPartition(bench.topic, 0, place.offset)
    admin = AdminClient({"bootstrap.servers": servers})
    (deleted,) = admin.delete_records([begin]).values()
    assert deleted.result(10).low_watermark == begin.offset


def _waiting(bench: RelayBench) -> dict[str, int]:
    """The keys in quarantine, each with the `seq` from which on it waits."""
    settings = bench.settings
    checkpoints = KafkaCheckpoints(settings.kafka, topic=settings.checkpoint_topic, partitions=8)
    return {key: one.first_seq for key, one in checkpoints.found(ORDER).quarantine.items()}


def _make_again(bench: RelayBench) -> None:
    topic = bench.settings.checkpoint_topic
    admin = AdminClient({"bootstrap.servers": bench.settings.kafka_bootstrap_servers})
    admin.delete_topics([topic])[topic].result(10)
    wait_for(lambda: topic not in admin.list_topics(timeout=5).topics)
    config = {"cleanup.policy": "compact"}
    made = NewTopic(topic, num_partitions=8, replication_factor=1, config=config)
    admin.create_topics([made])[topic].result(10)
    wait_for(lambda: _is_led(bench), what="leaders of the new topic's partitions")


def _is_led(bench: RelayBench) -> bool:
    settings = bench.settings
    checkpoints = KafkaCheckpoints(settings.kafka, topic=settings.checkpoint_topic, partitions=8)
    try:
        return all(checkpoints.found(source) == Standing() for source in bench.databases)
    except TransientError:
        return False
