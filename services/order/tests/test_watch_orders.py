"""Whatever comes when, a watcher is told every change once, in order, and nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_order.adapters.encoding import encode_watched
from trackops_order.application.ports import TimelineEntry
from trackops_order.application.watch_orders import Changes, Position, ReadChanges, WatchOrders
from trackops_order.domain.errors import OrderError, OrderNotFound, VersionNotReached
from trackops_order.domain.events import OrderEvent
from trackops_order.domain.goods import OrderLine, Pieces, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.testing import InMemoryOrderFeed, InMemoryOrders, placed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Message = order_service_pb2.WatchOrderResponse
Outcome = Changes | OrderError


class World:
    """An order in a database, the feed that hears of it, and readings that end when told to."""

    def __init__(self) -> None:
        event = placed(lines=[OrderLine("TEA-1", 10_000, 1)])
        self.orders = InMemoryOrders()
        self.feed = InMemoryOrderFeed()
        self.order_id = event.order.order_id
        self.reads = 0
        self._readings: list[tuple[asyncio.Future[Outcome], Position, Outcome]] = []
        self._free = False
        with self.orders() as work:
            work.orders.add([event.order])
            work.commit([event])

    @property
    def version(self) -> int:
        return self.orders.get([self.order_id])[self.order_id].version

    def watch(self, after_version: int, order_id: UUID | None = None) -> AsyncGenerator[bytes]:
        position = Position(order_id or self.order_id, after_version)
        return WatchOrders(self.feed, self._read)(position)

    def commit(self) -> None:
        """One more change: the confirmation, and then shipments of one piece."""
        with self.orders() as work:
            order = work.orders.lock([self.order_id])[self.order_id]
            event = self._change(order)
            work.orders.save([event])
            work.commit([event])

    def reject(self) -> None:
        with self.orders() as work:
            order = work.orders.lock([self.order_id])[self.order_id]
            event = order.close(Rejection("PAYMENT_DECLINED", ""), now=NOW)
            work.orders.save([event])
            work.commit([event])

    def _change(self, order: Order) -> OrderEvent:
        now = NOW + timedelta(seconds=order.version)
        if order.version == 1:
            return order.confirm(now=now)
        return order.ship(Shipment(uuid.uuid4(), "DHL", "1", [Pieces("TEA-1", 1)]), now)

    async def _read(self, position: Position) -> Outcome:
        self.reads += 1
        now = self._changes(position)
        if self._free:
            return now
        reading: asyncio.Future[Outcome]
        reading = asyncio.get_running_loop().create_future()
        self._readings.append((reading, position, now))
        return await reading

    def end_reading(self, *, saw_the_present: bool) -> None:
        """The oldest reading ends; it saw the rows of now, or those of when it began."""
        if self._readings:
            reading, position, then = self._readings.pop(0)
            reading.set_result(self._changes(position) if saw_the_present else then)

    def read_freely(self) -> None:
        """From now on readings take no time."""
        self._free = True
        while self._readings:
            self.end_reading(saw_the_present=False)

    def _changes(self, position: Position) -> Outcome:
        (changes,) = ReadChanges(self.orders, encode_watched)([position])
        return changes


class Watcher:
    """Takes messages when it is told to."""

    def __init__(self, stream: AsyncGenerator[bytes]) -> None:
        self.messages: list[Message] = []
        self._may_take = asyncio.Semaphore(0)
        self._task = asyncio.create_task(self._run(stream))

    def take(self, count: int = 1) -> None:
        for _ in range(count):
            self._may_take.release()

    @property
    def versions(self) -> list[int]:
        return [message.entry.version for message in self.messages]

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, stream: AsyncGenerator[bytes]) -> None:
        async with aclosing(stream):
            await self._may_take.acquire()
            async for message in stream:
                self.messages.append(Message.FromString(message))
                await self._may_take.acquire()


async def _settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


STEPS = some.one_of(
    some.just("commit"),
    some.just("commit"),
    some.just("take"),
    some.just("begin anew"),
    some.sampled_from(["end reading of then", "end reading of now"]),
    some.integers(0, 20),  # the event of one of the versions arrives, be it again or out of turn
)


@settings(max_examples=300, deadline=None)
@given(
    commits_before=some.integers(0, 4),
    seen=some.integers(0, 5),
    heard_before=some.booleans(),
    steps=some.lists(STEPS, max_size=25),
    rest_is_lost=some.booleans(),
)
def test_each_change_comes_once_and_in_order(
    commits_before: int,
    seen: int,
    heard_before: bool,
    steps: Sequence[str | int],
    rest_is_lost: bool,
) -> None:
    asyncio.run(_watched_through(commits_before, seen, heard_before, steps, rest_is_lost))


async def _watched_through(
    commits_before: int,
    seen: int,
    heard_before: bool,
    steps: Sequence[str | int],
    rest_is_lost: bool,
) -> None:
    world = World()
    for _ in range(commits_before):
        world.commit()
    at_start = world.version
    after = min(seen, at_start)
    unheard = set() if heard_before else set(range(1, at_start + 1))
    watcher = Watcher(world.watch(after))
    watcher.take()
    await _settle()

    for step in steps:
        unheard |= {world.version + 1} if step == "commit" else set()
        _do(world, watcher, step)
        unheard -= {1 + step % world.version} if isinstance(step, int) else set()
        await _settle()
    if rest_is_lost:
        world.feed.begin_anew()
    else:  # everything is heard in the end
        for version in sorted(unheard):
            world.feed.publish(world.order_id, version)
    watcher.take(1000)
    world.read_freely()
    await _settle()

    first = watcher.versions[0] if after == 0 else after + 1
    assert first >= (at_start if after == 0 else 1)
    assert watcher.versions == list(range(first, world.version + 1))
    assert [m.order.version for m in watcher.messages if m.HasField("order")] == (
        [first] if after == 0 else []
    )
    assert not watcher.ended
    await watcher.close()


def _do(world: World, watcher: Watcher, step: str | int) -> None:
    match step:
        case "commit":
            world.commit()
        case "take":
            watcher.take()
        case "begin anew":
            world.feed.begin_anew()
        case "end reading of then" | "end reading of now":
            world.end_reading(saw_the_present=step.endswith("now"))
        case int():
            world.feed.publish(world.order_id, 1 + step % world.version)


async def _watching(world: World, after_version: int) -> Watcher:
    world.read_freely()
    watcher = Watcher(world.watch(after_version))
    watcher.take(1000)
    await _settle()
    return watcher


async def test_a_watch_begins_with_the_whole_order_and_how_it_came_to_be_so() -> None:
    world = World()
    world.commit()

    watcher = await _watching(world, after_version=0)

    (message,) = watcher.messages
    assert message.order.order_id == str(world.order_id)
    assert message.order.state == order_pb2.ORDER_STATE_CONFIRMED
    assert (message.entry.version, message.entry.state) == (2, order_pb2.ORDER_STATE_CONFIRMED)
    await watcher.close()


async def test_a_resumed_watch_tells_what_happened_meanwhile_and_what_happens_now() -> None:
    world = World()
    for _ in range(5):
        world.commit()

    watcher = await _watching(world, after_version=3)
    assert watcher.versions == [4, 5, 6]
    world.commit()
    world.feed.publish(world.order_id, 7)
    await _settle()

    assert watcher.versions == [4, 5, 6, 7]
    assert watcher.messages[-1].entry.shipment.lines[0].sku == "TEA-1"
    await watcher.close()


@pytest.mark.parametrize("after_version", [0, 1, 2])
async def test_a_watch_ends_with_the_orders_last_change(after_version: int) -> None:
    world = World()
    world.reject()

    watcher = await _watching(world, after_version)

    assert watcher.ended
    assert watcher.versions == [2] * (after_version < 2)


async def test_a_live_watch_ends_with_the_orders_last_change() -> None:
    world = World()
    watcher = await _watching(world, after_version=0)

    world.reject()
    world.feed.publish(world.order_id, 2)
    await _settle()

    assert watcher.ended
    assert watcher.versions == [1, 2]
    assert watcher.messages[-1].entry.rejection.reason == "PAYMENT_DECLINED"


async def test_events_of_what_was_seen_cost_no_reading() -> None:
    world = World()
    world.commit()
    watcher = await _watching(world, after_version=0)

    for version in (1, 2, 2):
        world.feed.publish(world.order_id, version)
        await _settle()

    assert world.reads == 1
    await watcher.close()


async def test_events_of_other_orders_are_not_heard() -> None:
    world = World()
    watcher = await _watching(world, after_version=0)

    world.feed.publish(uuid.uuid4(), 9)
    await _settle()

    assert world.reads == 1
    await watcher.close()


async def test_a_reader_far_behind_is_given_a_part_at_a_time() -> None:
    world = World()
    for _ in range(250):
        world.commit()

    watcher = await _watching(world, after_version=1)
    await _settle()

    assert watcher.versions == list(range(2, 252))
    assert world.reads == 3
    await watcher.close()


async def test_an_order_that_does_not_exist_cannot_be_watched() -> None:
    world = World()
    world.read_freely()

    for after_version in (0, 1):
        stranger = uuid.uuid4()
        with pytest.raises(OrderNotFound) as refused:
            await anext(world.watch(after_version, stranger))
        assert refused.value.order_id == stranger


async def test_a_version_that_the_order_has_not_reached_cannot_be_resumed_from() -> None:
    world = World()
    world.read_freely()

    with pytest.raises(VersionNotReached) as refused:
        await anext(world.watch(after_version=2))

    assert (refused.value.min_version, refused.value.version) == (2, 1)


class _ReaderAmongWriters:
    """The order changes between the two queries of a reading."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Order]:
        orders = self._world.orders.get(order_ids)
        self._world.commit()
        return orders

    def timelines(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[TimelineEntry]]:
        return self._world.orders.timelines(order_ids)


async def test_an_order_that_changes_while_it_is_read_is_shown_as_it_was_and_then_changed() -> None:
    world = World()

    (changes,) = ReadChanges(_ReaderAmongWriters(world), encode_watched)(
        [Position(world.order_id, 0)]
    )

    assert isinstance(changes, Changes)
    first, second = (Message.FromString(one) for one in changes.messages)
    assert first.entry.version == first.order.version == 1
    assert second.entry.version == 2
    assert not second.HasField("order")


async def test_many_positions_are_read_together() -> None:
    world, other = World(), uuid.uuid4()
    world.commit()

    changes = ReadChanges(world.orders, encode_watched)(
        [Position(world.order_id, 0), Position(other, 0), Position(world.order_id, 1)]
    )

    assert [type(one) for one in changes] == [Changes, OrderNotFound, Changes]
    whole, _, resumed = changes
    assert isinstance(whole, Changes)
    assert isinstance(resumed, Changes)
    assert [Message.FromString(one).HasField("order") for one in whole.messages] == [True]
    assert [Message.FromString(one).HasField("order") for one in resumed.messages] == [False]
