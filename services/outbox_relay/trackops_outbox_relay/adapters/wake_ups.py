"""Notifications of new outbox rows, from Postgres to whoever waits."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg2
import structlog

from trackops_common.outbox import WAKE_UP_CHANNEL
from trackops_outbox_relay.adapters.operations import OPERATIONS_CHANNEL

__all__ = ["Bell", "PostgresWakeUps"]

_log = structlog.get_logger(__name__)

_SELECT_SECONDS = 0.5
_GATHER_SECONDS = 0.002
_RECONNECT_SECONDS = 2.0


class Bell:
    """Rung by many, heard by one. A ring while nobody waits is heard by the next wait."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> bool:
        rung = self._event.wait(seconds)
        self._event.clear()
        return rung


class PostgresWakeUps:
    """Rings each source's bell when its schema notifies.

    Nothing but latency depends on it: while there is no connection, readers
    find new rows when they poll.
    """

    def __init__(
        self, database_url: str, sources: Iterable[str], *, on_operation: Callable[[str], None]
    ) -> None:
        """`on_operation` is told the source of which an operator may ask something."""
        self._database_url = database_url
        self._on_operation = on_operation
        self._bells = {source: Bell() for source in sources}

    def of(self, source: str) -> Bell:
        """The bell of one source."""
        return self._bells[source]

    def run(self, stop: threading.Event) -> None:
        """Listen until `stop` is set, over as many connections as it takes."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                _log.warning("not listening for new rows", error=str(error).strip())
                stop.wait(_RECONNECT_SECONDS)

    def _listen(self, stop: threading.Event) -> None:
        connection = psycopg2.connect(
            self._database_url, connect_timeout=5, application_name="trackops_outbox_relay listen"
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {WAKE_UP_CHANNEL}; LISTEN {OPERATIONS_CHANNEL}")
            for source, bell in self._bells.items():
                self._on_operation(source)
                bell.ring()
            while not stop.is_set():
                if select.select([connection], [], [], _SELECT_SECONDS)[0]:
                    self._ring_for(connection)
                    # Under load the next ones are taken together.
                    stop.wait(_GATHER_SECONDS)
        finally:
            connection.close()

    def _ring_for(self, connection: Any) -> None:
        connection.poll()
        for channel, source in {(one.channel, one.payload) for one in connection.notifies}:
            if source in self._bells:
                if channel == OPERATIONS_CHANNEL:
                    self._on_operation(source)
                self._bells[source].ring()
        connection.notifies.clear()
