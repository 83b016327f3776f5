"""A participant of sagas as two processes on one database, and how it is driven and looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from trackops_cli.local.ports import HOST, Ports
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, ServiceProcess, error_details
from trackops_common.testing_tokens import authorized_channel

__all__ = ["Answer", "Asked", "Participant", "Replica", "Rpc"]

Message = Any
"""A request or response of any service."""

_CALL_SECONDS = 60
_START_SECONDS = 120


@dataclass(frozen=True)
class Rpc:
    """A unary RPC and its batch twin."""

    service: ServiceDescriptor
    one: str
    many: str


@dataclass(frozen=True)
class Answer:
    """What one command was answered."""

    response: Message = None
    refusal: str = ""
    """The `ErrorInfo`'s reason; the status code's name where the server did not say it."""


Asked = Callable[[], Sequence[Answer]]
"""Commands on their way; calling it waits for the answers, in the commands' order."""


class Replica:
    """One process of a participant."""

    def __init__(self, process: ServiceProcess, target: str) -> None:
        self._process = process
        self._channel = authorized_channel(target)

    def wait_serving(self) -> None:
        """Returns once it serves."""
        self._process.wait_logged("serving", seconds=_START_SECONDS)

    def ask(self, rpc: Rpc, requests: Sequence[Message], *, batch: bool) -> Asked:
        """Send commands, as one batch or each alone."""
        if not batch:
            calls = [self._start(rpc.service, rpc.one, request) for request in requests]
            return lambda: [_answer(call) for call in calls]
        whole = GetMessageClass(rpc.service.methods_by_name[rpc.many].input_type)
        call = self._start(rpc.service, rpc.many, whole(requests=requests))
        return lambda: _answers(call, len(requests))

    def call(self, service: ServiceDescriptor, method: str, request: Message) -> Message:
        """The response of any RPC; raises `grpc.RpcError`."""
        return self._start(service, method, request).result()

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        self._channel.close()
        self._process.kill()

    def _start(self, service: ServiceDescriptor, method: str, request: Message) -> Any:
        response = GetMessageClass(service.methods_by_name[method].output_type)
        rpc: Any = self._channel.unary_unary(
            f"/{service.full_name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return rpc.future(request, timeout=_CALL_SECONDS)


class Participant:
    """Two replicas of one service; facts are read where they leave, in the outbox."""

    def __init__(
        self, module: str, database_url: str, settings: Mapping[str, str], folder: Path
    ) -> None:
        self._module = module
        self._settings = {**settings, "TRACKOPS_DATABASE_URL": database_url}
        self._folder = folder
        self._numbers = count()
        self._rows = Database(database_url, application_name="test", pool_size=2)
        self.replicas = [self._spawned(), self._spawned()]

    def wait_serving(self) -> None:
        """Returns once both replicas serve."""
        for replica in self.replicas:
            replica.wait_serving()

    def ask(self, rpc: Rpc, requests: Sequence[Message], *, batch: bool = False) -> Asked:
        """Send commands to the first replica."""
        return self.replicas[0].ask(rpc, requests, batch=batch)

    def call(self, service: ServiceDescriptor, method: str, request: Message) -> Message:
        """The response of any RPC; raises `grpc.RpcError`."""
        return self.replicas[0].call(service, method, request)

    def replace_first(self) -> None:
        """A new process in place of the first replica, which is dead."""
        self.replicas[0].close()
        self.replicas[0] = self._spawned()
        self.replicas[0].wait_serving()

    def facts(self, fact: str, order_ids: Sequence[str]) -> Sequence[int]:
        """How many events of a type left for each order."""
        rows = self._rows.fetch(
            "SELECT key FROM outbox WHERE key = ANY(%(keys)s) AND type LIKE %(type)s",
            {"keys": list(order_ids), "type": f"%.{fact}"},
        )
        by_order = Counter(row[0] for row in rows)
        return [by_order[order_id] for order_id in order_ids]

    @contextmanager
    def outbox_held(self) -> Iterator[None]:
        """Every transaction with events waits, just before it commits, until the end of this."""
        with self._rows.transaction() as holder:
            holder.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.outbox', 0))"
            )
            yield

    def wait_at_outbox(self) -> None:
        """Returns once a transaction waits for the end of `outbox_held`."""
        wait_for(
            lambda: self._rows.fetch(
                "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            what="a transaction at the outbox lock",
        )

    def close(self) -> None:
        for replica in self.replicas:
            replica.close()
        self._rows.close()

    def _spawned(self) -> Replica:
        target = f"{HOST}:{Ports.free().inventory}"
        log = self._folder / f"{self._module}-{next(self._numbers)}.log"
        environment = {**self._settings, "TRACKOPS_LISTEN": target}
        return Replica(ServiceProcess(self._module, environment, log), target)


def _answers(call: Any, number: int) -> Sequence[Answer]:
    whole = _answer(call)
    if whole.response is None:
        return [whole] * number
    return [
        Answer(refusal=ErrorDetails.of_status(result.error).reason)
        if result.HasField("error")
        else Answer(result.response)
        for result in whole.response.results
    ]


def _answer(call: Any) -> Answer:
    try:
        return Answer(call.result())
    except grpc.RpcError as error:
        told = "grpc-status-details-bin" in dict(call.trailing_metadata() or ())
        return Answer(refusal=error_details(error).reason if told else call.code().name)
