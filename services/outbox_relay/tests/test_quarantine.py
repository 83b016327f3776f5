"""Rows that cannot be published, on a real broker and a real database."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from confluent_kafka.admin import AdminClient
from trackops.relay.v1 import relay_service_pb2 as pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_cli.testing import KafkaCluster, wait_for
from trackops_common.testing import error_details, eventually, serving
from trackops_outbox_relay.bootstrap import bootstrap
from trackops_outbox_relay.testing import RelayBench

ORDER, INVENTORY = "trackops_order", "trackops_inventory"
NO_TOPIC = "no.such.topic.v1"


class Relays:
    """Two replicas, one of which holds the lease; an operator asks the other one too."""

    def __init__(self, bench: RelayBench, stubs: list[Any]) -> None:
        self.bench = bench
        self.stubs = stubs

    async def quarantine(self, *, keys: int, rows: int = 0) -> list[pb.QuarantinedKey]:
        """What every replica lists, once so many keys (and rows, at least) wait."""
        answers = [await self._listed(stub, keys, rows) for stub in self.stubs]
        assert answers[0] == answers[-1]
        return answers[0]

    async def _listed(self, stub: Any, keys: int, rows: int) -> list[pb.QuarantinedKey]:
        give_up = time.monotonic() + 20
        while True:
            found = (await stub.ListQuarantine(pb.ListQuarantineRequest(source=ORDER))).keys
            if len(found) == keys and sum(one.rows for one in found) >= rows:
                return list(found)
            assert time.monotonic() < give_up, found

    async def replay(self, key: str, *, request_id: str = "") -> pb.ReplayQuarantineResponse:
        request = pb.ReplayQuarantineRequest(
            request_id=request_id or str(uuid.uuid4()),
            source=ORDER,
            key=key,
            reason="the topic was made",
        )
        answer: pb.ReplayQuarantineResponse = await self.stubs[-1].ReplayQuarantine(request)
        return answer

    async def discard(self, key: str, *, through_seq: int) -> pb.DiscardQuarantineResponse:
        request = pb.DiscardQuarantineRequest(
            request_id=str(uuid.uuid4()),
            source=ORDER,
            key=key,
            through_seq=through_seq,
            reason="nobody wants it",
        )
        answer: pb.DiscardQuarantineResponse = await self.stubs[-1].DiscardQuarantine(request)
        return answer


@asynccontextmanager
async def relays(bench: RelayBench, count: int = 2) -> AsyncIterator[Relays]:
    async with AsyncExitStack() as stack:
        stubs, replicas = [], []
        for _ in range(count):
            application = await stack.enter_async_context(bootstrap(bench.settings))
            channel = await stack.enter_async_context(serving(application))
            stubs.append(RelayServiceStub(channel))
            replicas.append(application.rpc_services[0].servicer)
        await eventually(lambda: any(map(_relays, replicas)), seconds=30, what="an owner")
        yield Relays(bench, stubs)


def _relays(servicer: Any) -> bool:
    here = servicer.get_checkpoint.progress.of(ORDER)
    return here is not None and here.standing is not None


async def _published(bench: RelayBench, ids: list[str], *, topic: str | None = None) -> None:
    """Exactly these, in this order."""

    def arrived() -> bool:
        return len(bench.published(ORDER, topic=topic)) >= len(ids)

    await asyncio.to_thread(wait_for, arrived, what="the events")
    assert bench.published(ORDER, topic=topic) == ids


async def test_an_unknown_topic_holds_up_its_key_until_the_topic_is_there(
    bench: RelayBench, kafka: KafkaCluster
) -> None:
    wrong = f"test-{uuid.uuid4().hex}"
    bench.write(ORDER, 1, key="held", topic=wrong)
    waits = bench.write(ORDER, 1, key="held")
    flows = bench.write(ORDER, 5, key="free")
    async with relays(bench) as both:
        await _published(bench, flows)
        (held,) = await both.quarantine(keys=1, rows=2)
        assert (held.key, held.first_seq, held.last_seq, held.rows) == ("held", 1, 2, 2)
        assert held.reason == pb.QUARANTINE_REASON_UNKNOWN_TOPIC
        assert wrong in held.detail
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await both.replay("held")
        assert error_details(refused.value).reason == "STILL_UNPUBLISHABLE"
        _make_topic(kafka, wrong)
        assert (await both.replay("held")).published_rows == 2
        flows += waits
        await _published(bench, flows)
        assert len(bench.published(ORDER, topic=wrong)) == 1
        flows += bench.write(ORDER, 3, key="held")
        await _published(bench, flows)
        await both.quarantine(keys=0)


def _make_topic(kafka: KafkaCluster, name: str) -> None:
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])[name].result(10)
    wait_for(lambda: name in admin.list_topics(timeout=5).topics)


async def test_a_row_too_large_waits_and_a_discard_lets_its_key_flow_on(bench: RelayBench) -> None:
    bench.write(ORDER, 1, key="big", payload=os.urandom(1_048_588))
    bench.write(ORDER, 1, key="big")
    later = bench.write(ORDER, 2, key="big")
    flows = bench.write(ORDER, 1, key="free", payload=os.urandom(1_000_000))
    async with relays(bench) as both:
        await _published(bench, flows)
        (held,) = await both.quarantine(keys=1)
        assert held.reason == pb.QUARANTINE_REASON_TOO_LARGE
        assert (held.first_seq, held.last_seq) == (1, 4)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await both.discard("big", through_seq=5)
        assert error_details(refused.value).reason == "ROW_NOT_QUARANTINED"
        answer = await both.discard("big", through_seq=2)
        assert (answer.discarded_rows, answer.published_rows) == (2, 2)
        await _published(bench, flows + later)


async def test_a_topic_that_takes_little_gets_small_batches(
    bench: RelayBench, kafka: KafkaCluster
) -> None:
    small = kafka.topic(max_message_bytes="2000")
    ids = [bench.write(ORDER, 1, topic=small, payload=os.urandom(1_400))[0] for _ in range(20)]
    bench.write(ORDER, 1, key="big", topic=small, payload=os.urandom(2_000))
    async with relays(bench, 1) as one:
        await _published(bench, ids, topic=small)
        (held,) = await one.quarantine(keys=1)
        assert (held.key, held.first_seq) == ("big", 21)


async def test_a_row_that_the_broker_refuses_by_its_own_rule_is_found_among_many(
    bench: RelayBench, kafka: KafkaCluster
) -> None:
    """Its size is allowed, but the log's segments have no room for it."""
    strict = kafka.topic(max_message_bytes="3000000", segment_bytes="1048576")
    ids = bench.write(ORDER, 30, key="free")
    bench.write(ORDER, 1, key="held", topic=strict, payload=os.urandom(1_500_000))
    bench.write(ORDER, 3, key="held")
    ids += bench.write(ORDER, 16, key="free")
    async with relays(bench, 1) as one:
        await _published(bench, ids)
        (held,) = await one.quarantine(keys=1)
        assert held.reason == pb.QUARANTINE_REASON_REFUSED_BY_BROKER
        assert (held.key, held.first_seq, held.rows) == ("held", 31, 4)
        assert "RECORD_LIST_TOO_LARGE" in held.detail


async def test_a_name_that_no_topic_can_have_is_an_unknown_topic(bench: RelayBench) -> None:
    bench.write(ORDER, 1, key="held", topic="no topic/at all")
    async with relays(bench, 1) as one:
        (held,) = await one.quarantine(keys=1)
        assert held.reason == pb.QUARANTINE_REASON_UNKNOWN_TOPIC


async def test_a_topic_that_goes_while_the_relay_runs_is_noticed(
    bench: RelayBench, kafka: KafkaCluster
) -> None:
    short_lived = kafka.topic()
    bench.write(ORDER, 1, key="held", topic=short_lived)
    async with relays(bench, 1) as one:

        def there() -> bool:
            return bool(bench.published(ORDER, topic=short_lived))

        await asyncio.to_thread(wait_for, there)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.delete_topics([short_lived])[short_lived].result(10)
        bench.write(ORDER, 1, key="held", topic=short_lived)
        await _published(bench, bench.write(ORDER, 5, key="free"))
        (held,) = await one.quarantine(keys=1)
        assert held.reason == pb.QUARANTINE_REASON_UNKNOWN_TOPIC


async def test_what_waits_is_known_after_a_restart_and_a_replay_keeps_the_order(
    bench: RelayBench, kafka: KafkaCluster
) -> None:
    wrong = f"test-{uuid.uuid4().hex}"
    ids: list[str] = []
    async with relays(bench, 1) as one:
        bench.write(ORDER, 1, key="held", topic=wrong)
        ids += bench.write(ORDER, 5, key="held")
        await one.quarantine(keys=1)
    async with relays(bench) as both:
        ids += bench.write(ORDER, 5, key="held")
        await both.quarantine(keys=1, rows=11)
        _make_topic(kafka, wrong)
        written = asyncio.create_task(asyncio.to_thread(_keep_writing, bench))
        assert (await both.replay("held")).published_rows >= 11
        await _published(bench, ids + await written)


def _keep_writing(bench: RelayBench) -> list[str]:
    """New rows of the key, while it is replayed."""
    return [one for _ in range(100) for one in bench.write(ORDER, 1, key="held")]


async def test_an_operation_is_done_once_and_audited(
    bench: RelayBench, kafka: KafkaCluster
) -> None:
    wrong = f"test-{uuid.uuid4().hex}"
    bench.write(ORDER, 1, key="held", topic=wrong)
    ids = bench.write(ORDER, 1, key="held")
    async with relays(bench) as both:
        await both.quarantine(keys=1)
        _make_topic(kafka, wrong)
        request_id = str(uuid.uuid4())
        answer = await both.replay("held", request_id=request_id)
        assert await both.replay("held", request_id=request_id) == answer
        with pytest.raises(grpc.aio.AioRpcError) as reused:
            await both.replay("another key", request_id=request_id)
        assert error_details(reused.value).reason == "REQUEST_ID_REUSED"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await both.replay("held")
        assert error_details(refused.value).reason == "KEY_NOT_QUARANTINED"
        await _published(bench, ids)
        history = await both.stubs[0].ListOperations(pb.ListOperationsRequest(source=ORDER))
        failed, done = history.operations
        assert (done.kind, done.key, done.reason) == ("replay", "held", "the topic was made")
        assert (done.state, done.principal) == (pb.Operation.STATE_DONE, "somebody")
        assert failed.state == pb.Operation.STATE_FAILED
        assert done.request_time.ToSeconds() <= done.finish_time.ToSeconds()
