"""The whole relay on a real broker and a real database."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from trackops.relay.v1 import relay_service_pb2 as pb

from trackops_cli.testing import wait_for
from trackops_common.errors import TransientError
from trackops_outbox_relay.adapters.checkpoints import KafkaCheckpoints
from trackops_outbox_relay.adapters.postgres import PostgresOutbox
from trackops_outbox_relay.adapters.publisher import KafkaPublisher, KafkaPublishers
from trackops_outbox_relay.application.ports import Fenced
from trackops_outbox_relay.bootstrap import bootstrap
from trackops_outbox_relay.domain.checkpoint import START, Checkpoint, OutboxRow
from trackops_outbox_relay.domain.errors import OutboxDiverged, SourceNotFound
from trackops_outbox_relay.domain.sources import partition_of
from trackops_outbox_relay.domain.standing import Standing, Step, advance
from trackops_outbox_relay.testing import RelayBench

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER, INVENTORY, PAYMENT = "trackops_order", "trackops_inventory", "trackops_payment"
FEW_ROWS = {"TRACKOPS_RELAY_BATCH_ROWS": "5"}


BenchMaker = Callable[..., RelayBench]


@asynccontextmanager
async def _relaying(bench: RelayBench) -> AsyncIterator[Any]:
    """The relay in this process; its servicer."""
    async with bootstrap(bench.settings) as application:
        yield application.rpc_services[0].servicer
        for task in application.background:
            assert not task.done(), task


async def _until(condition: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(wait_for, condition, what=what)


async def _published(bench: RelayBench, source: str, ids: list[str]) -> None:
    await asyncio.to_thread(_wait_until_published, bench, source, ids)


def _wait_until_published(bench: RelayBench, source: str, ids: list[str]) -> None:
    """Return once that many are there and they are exactly these, in this order."""
    wait_for(lambda: len(bench.published(source)) >= len(ids), what=f"events of {source}")
    assert bench.published(source) == ids


@pytest.mark.parametrize("checkpoint_partitions", [8, 1])
async def test_events_of_several_sources_arrive_once_and_in_order(
    make_bench: BenchMaker, checkpoint_partitions: int
) -> None:
    bench = make_bench(checkpoint_partitions=checkpoint_partitions)
    written = {source: bench.write(source, 120) for source in (ORDER, INVENTORY)}
    async with _relaying(bench) as servicer:
        for source, ids in written.items():
            await _published(bench, source, ids)
        later = bench.write(ORDER, 3)
        await _published(bench, ORDER, written[ORDER] + later)
        await _shows(servicer, ORDER, seq=123, event_id=later[-1])


def _seq(servicer: Any, source: str) -> int:
    seq: int = servicer.get_checkpoint(source).checkpoint.seq
    return seq


async def _shows(servicer: Any, source: str, *, seq: int, event_id: str) -> None:
    """What the RPCs say about a source once its events are in Kafka."""

    await _until(lambda: _seq(servicer, source) >= seq, f"the checkpoint {seq}")
    response = await servicer.ListSources(pb.ListSourcesRequest(), None)
    listed = next(one for one in response.sources if one.name == source)
    assert (listed.leased_here, listed.rows_behind) == (True, 0)
    answer = await servicer.GetCheckpoint(pb.GetCheckpointRequest(source=source), None)
    assert answer.checkpoint == pb.Checkpoint(seq=seq, event_id=event_id)
    with pytest.raises(SourceNotFound):
        await servicer.GetCheckpoint(pb.GetCheckpointRequest(source="elsewhere"), None)


async def test_a_restarted_relay_goes_on_from_the_checkpoint(bench: RelayBench) -> None:
    ids = bench.write(ORDER, 120)
    async with _relaying(bench):
        await _published(bench, ORDER, ids)
    ids += bench.write(ORDER, 60)
    async with _relaying(bench):
        await _published(bench, ORDER, ids)


async def test_an_abandoned_transaction_is_ended_and_its_rows_are_published_once(
    bench: RelayBench,
) -> None:
    ids = bench.write(ORDER, 120)
    rows = PostgresOutbox(bench.own, ORDER).read(START, limit=60)
    with _publishers(bench).open(ORDER) as abandoned:
        abandoned.begin(advance(Standing(), rows, {}, at=NOW))
        abandoned._producer.flush(10)  # sent, but not committed
        async with _relaying(bench) as servicer:
            # Long before the broker would end the transaction by itself.
            await _until(lambda: _seq(servicer, ORDER) == 120, "the checkpoint")
            with pytest.raises(Fenced):
                abandoned.commit()
            await _published(bench, ORDER, ids)


async def test_a_publisher_that_slept_wakes_up_fenced(bench: RelayBench) -> None:
    ids = bench.write(ORDER, 60)
    rows = PostgresOutbox(bench.own, ORDER).read(START, limit=60)
    with _publishers(bench).open(ORDER) as asleep:
        async with _relaying(bench):
            await _published(bench, ORDER, ids)
            with pytest.raises(Fenced):
                _publish(asleep, rows)
            ids += bench.write(ORDER, 1)
            await _published(bench, ORDER, ids)


def _publish(publisher: KafkaPublisher, rows: Sequence[OutboxRow]) -> None:
    publisher.begin(advance(Standing(), rows, {}, at=NOW))
    publisher.commit()


async def test_a_fenced_relay_starts_over_while_it_holds_the_lease(
    bench: RelayBench,
) -> None:
    ids = bench.write(ORDER, 10)
    async with _relaying(bench):
        await _published(bench, ORDER, ids)
        with _publishers(bench).open(ORDER):
            ids += bench.write(ORDER, 10)
            await _published(bench, ORDER, ids)


async def test_a_checkpoint_topic_that_was_made_again_is_refused(bench: RelayBench) -> None:
    bench.own.execute("INSERT INTO known_sources VALUES ('trackops_order', 'another id', now())")
    bench.write(ORDER, 10)
    others = bench.write(INVENTORY, 10)
    async with _relaying(bench) as servicer:
        await _published(bench, INVENTORY, others)
        await _refused(servicer, ORDER, "made again")
    assert bench.published(ORDER) == []


async def test_a_known_source_without_a_checkpoint_is_refused(bench: RelayBench) -> None:
    bench.own.execute(
        "INSERT INTO known_sources VALUES ('trackops_order', %(id)s, now())",
        {"id": _checkpoints(bench).topic_id()},
    )
    bench.write(ORDER, 10)
    async with _relaying(bench) as servicer:
        await _refused(servicer, ORDER, "has no record")
    assert bench.published(ORDER) == []


@pytest.mark.parametrize(
    "restore",
    [
        "DELETE FROM outbox WHERE seq >= 100",
        "UPDATE outbox SET event_id = gen_random_uuid() WHERE seq = 120",
    ],
)
async def test_a_database_of_an_older_state_is_refused(bench: RelayBench, restore: str) -> None:
    ids = bench.write(ORDER, 120)
    async with _relaying(bench):
        await _published(bench, ORDER, ids)
    bench.databases[ORDER].execute(restore)
    bench.write(ORDER, 10)
    async with _relaying(bench) as servicer:
        await _refused(servicer, ORDER, "trackops outbox rebase trackops_order")
    assert bench.published(ORDER) == ids


async def test_a_database_that_goes_back_under_a_relay_is_refused(
    bench: RelayBench,
) -> None:
    ids = bench.write(ORDER, 120)
    async with _relaying(bench) as servicer:
        await _published(bench, ORDER, ids)
        bench.databases[ORDER].execute("DELETE FROM outbox WHERE seq >= 100")
        await _refused(servicer, ORDER, "no row")
    assert bench.published(ORDER) == ids


async def _refused(servicer: Any, source: str, reason: str) -> None:
    """The source stands still, and ListSources says why."""

    def refusal() -> object:
        here = servicer.list_sources.progress.of(source)
        return here and here.refusal

    await _until(refusal, f"the refusal of {source}")
    response = await servicer.ListSources(pb.ListSourcesRequest(), None)
    listed = next(one for one in response.sources if one.name == source)
    assert reason in listed.refusal


def test_a_killed_relay_loses_and_doubles_nothing(bench: RelayBench, tmp_path: Path) -> None:
    ids = bench.write(ORDER, 3_000)
    with bench.process(tmp_path / "first.log", FEW_ROWS) as first:
        wait_for(bench.has_events, what="the first events")
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    assert len(bench.published(ORDER)) < len(ids), "it was killed too late to show anything"
    ids += bench.write(ORDER, 100)
    with bench.process(tmp_path / "second.log", FEW_ROWS):
        _wait_until_published(bench, ORDER, ids)


def test_a_checkpoint_is_seen_behind_the_open_transaction_of_another_source(
    make_bench: BenchMaker,
) -> None:
    """Sources that share a partition: the last stable offset hides what comes after the first."""
    bench = make_bench(checkpoint_partitions=1)
    publishers = _publishers(bench, partitions=1)
    with publishers.open(ORDER) as order, publishers.open(PAYMENT) as payment:
        order.begin(_at(1, "first"))
        order.commit()
        payment.begin(_at(1, "open"))
        payment._producer.flush(10)
        order.begin(_at(2, "second"))
        order.commit()
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(_checkpoints(bench, partitions=1).last, ORDER)
            with pytest.raises(TimeoutError):
                found.result(3)  # what is visible so far is not the last
            with publishers.open(PAYMENT):  # its new owner ends the transaction
                assert found.result(30) == _at(2, "second").standing


def test_a_transaction_that_stands_open_is_named_by_its_place(
    bench: RelayBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trackops_outbox_relay.adapters.checkpoints._SCAN_SECONDS", 0.5)
    topic, partition = bench.settings.checkpoint_topic, partition_of(ORDER, 8)
    with _publishers(bench).open(ORDER) as publisher:
        publisher.begin(_at(1, "first"))
        publisher.commit()
        publisher.begin(_at(2, "open"))
        publisher._producer.flush(10)
        with pytest.raises(TransientError, match=f"{topic}-{partition} can be read from 2 on"):
            _checkpoints(bench).last(ORDER)


def test_a_checkpoint_is_found_far_from_the_end(make_bench: BenchMaker) -> None:
    bench = make_bench(checkpoint_partitions=1)
    publishers = _publishers(bench, partitions=1)
    with publishers.open(ORDER) as order, publishers.open(PAYMENT) as payment:
        order.begin(_at(1, "only"))
        order.commit()
        for seq in range(600):
            payment.begin(_at(seq, "newer"))
            payment.commit()
    checkpoints = _checkpoints(bench, partitions=1)
    wait_for(lambda: checkpoints.last(PAYMENT) == _at(599, "newer").standing)
    assert checkpoints.last(ORDER) == _at(1, "only").standing
    assert checkpoints.last(INVENTORY) is None


def test_the_outbox_is_read_after_the_checkpoint_and_proves_it(bench: RelayBench) -> None:
    ids = bench.write(ORDER, 5)
    outbox = PostgresOutbox(bench.own, ORDER)
    rows = outbox.read(START, limit=3)
    assert [row.event_id for row in rows] == ids[:3]
    assert [row.seq for row in outbox.read(rows[1].checkpoint, limit=2)] == [3, 4]
    with pytest.raises(OutboxDiverged):
        outbox.read(Checkpoint(3, ids[0]), limit=2)
    assert outbox.backlog(rows[1].checkpoint).rows == 3
    assert outbox.backlog(Checkpoint(5, ids[4])).oldest_time is None


def _at(seq: int, event_id: str) -> Step:
    """A checkpoint alone."""
    return Step(Standing(Checkpoint(seq, event_id)))


def _publishers(bench: RelayBench, *, partitions: int = 8) -> KafkaPublishers:
    return KafkaPublishers(
        bench.settings.kafka,
        checkpoint_topic=bench.settings.checkpoint_topic,
        partitions=partitions,
        unknown_topic_seconds=bench.settings.unknown_topic_seconds,
    )


def _checkpoints(bench: RelayBench, *, partitions: int = 8) -> KafkaCheckpoints:
    servers, topic = bench.settings.kafka, bench.settings.checkpoint_topic
    return KafkaCheckpoints(servers, topic=topic, partitions=partitions)
