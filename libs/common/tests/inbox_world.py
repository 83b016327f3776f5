"""A consumer's surroundings: what is in its topics, and what it made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from confluent_kafka import Producer

from trackops_cli.testing import wait_for
from trackops_common.database import Database, Transaction
from trackops_common.envelope import Header, HeaderWriter
from trackops_common.inbox import Handled, Handler, Inbox, InboxSettings, Message
from trackops_common.inbox_lag import InboxLag

_WRITER = HeaderWriter("trackops_order")

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Effects:
    """A handler whose effect is a row for each message."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.before_return: Callable[[], None] = lambda: None
        self.check: Callable[[Message], None] = lambda _: None
        self.room: Future[None] | None = None
        """What the consumer is told to wait for."""
        self.committed = 0
        self.seen: list[Message] = []

    def __call__(self, transaction: Transaction, messages: Sequence[Message]) -> Handled:
        for message in messages:
            transaction.execute(
                "INSERT INTO effects VALUES (%(partition)s, %(id)s)",
                {"partition": message.partition, "id": message.id},
            )
            self.check(message)
        self.before_return()
        self.seen += messages
        return Handled(after_commit=self._count)

    def _count(self) -> Future[None] | None:
        self.committed += 1
        return self.room

    def ids(self) -> list[str]:
        return [row[0] for row in self._database.fetch("SELECT id FROM effects ORDER BY place")]


def produce(settings: InboxSettings, ids: Sequence[str], *, commit: bool = True) -> None:
    """Events of one transaction, in the consumer's first topic."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "transactional.id": f"{settings.topics[0]}-writer",
        }
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    for id_ in ids:
        producer.produce(settings.topics[0], b"payload", "key", headers=headers(id_))
    producer.flush(10)
    if commit:
        producer.commit_transaction(10)
    else:
        producer.abort_transaction(10)


def produce_raw(
    settings: InboxSettings,
    value: bytes | None,
    key: bytes | None = None,
    *,
    headers: Sequence[Header] = (),
    topic: str | None = None,
    partition: int = -1,
) -> int:
    """One message, just as it is; its offset."""
    delivered: list[int | None] = []
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    producer.produce(
        topic or settings.topics[0],
        value,
        key,
        headers=list(headers),
        partition=partition,
        on_delivery=lambda _, message: delivered.append(message.offset()),
    )
    assert producer.flush(10) == 0
    (offset,) = delivered
    assert offset is not None
    return offset


def headers(id_: str, *, key: str = "key", traceparent: str = "") -> list[Header]:
    return _WRITER.headers(
        event_id=id_,
        type_="t",
        subject=key,
        time="2026-11-23T10:00:00Z",
        outboxseq=1,
        aggregateversion=1,
        traceparent=traceparent,
    )


@contextmanager
def running(
    settings: InboxSettings, database: Database, handler: Handler, *, lag: InboxLag | None = None
) -> Iterator[Future[None]]:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(Inbox(settings, database, handler, lag=lag).run, stop)
        try:
            yield run
        finally:
            stop.set()


def handled_ids(effects: Effects, run: Future[None], count: int) -> list[str]:
    """The effects once there are `count`, and a little more would have had time to appear."""

    def enough() -> bool:
        if run.done():
            run.result()
        return len(effects.ids()) >= count

    wait_for(enough, what=f"{count} effects")
    return effects.ids()
