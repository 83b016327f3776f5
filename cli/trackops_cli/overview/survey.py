"""What the whole system says of itself, as far as it answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import grpc
from trackops.relay.v1 import relay_service_pb2 as relay_pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub
from trackops.saga.v1 import saga_pb2
from trackops.saga.v1 import saga_service_pb2 as saga_rpc_pb
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_cli.calls import pages, target_of, told
from trackops_cli.channels import open_channel, own_credentials
from trackops_cli.credentials import access_token
from trackops_cli.kafka_access import kafka_access
from trackops_cli.local.errors import StackError
from trackops_cli.local.mesh import SERVICES, is_serving
from trackops_cli.local.stack import LocalStack, PartStatus
from trackops_cli.order.advice import Advice, advise_on_key, advise_on_saga
from trackops_cli.order.story import saga_state
from trackops_client import TrackOpsError, typed_errors

__all__ = ["LIVE_STATES", "MOST_SAGAS", "Survey", "Trouble", "survey"]

LIVE_STATES = (
    saga_pb2.SAGA_STATE_RUNNING,
    saga_pb2.SAGA_STATE_COMPENSATING,
    saga_pb2.SAGA_STATE_QUEUED,
    saga_pb2.SAGA_STATE_PAUSED,
    saga_pb2.SAGA_STATE_NEEDS_OPERATOR,
)
"""Those of sagas that have not ended."""
MOST_SAGAS = 1_000
"""Of each state, as many are counted."""

_HELD_UP = (saga_pb2.SAGA_STATE_NEEDS_OPERATOR, saga_pb2.SAGA_STATE_PAUSED)
_SECONDS = 10.0
_SHOWN = 10
_IN_VAIN = 3
"""Attempts at a step, after which somebody should know."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trouble:
    """An order that does not go on by itself."""

    order_id: str
    advice: Sequence[Advice]
    saga: saga_pb2.Saga | None = None
    """The one that stands still; None where an outbox holds the order up."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The system at one moment. What is None did not answer; `silent` says why."""

    time: datetime
    parts: Sequence[PartStatus]
    sources: Sequence[relay_pb.Source] | None
    sagas: Mapping[str, int] | None
    """How many there are in each state that is not final, `MOST_SAGAS` at most."""
    participants: Sequence[saga_pb2.Participant] | None
    troubles: Sequence[Trouble]
    """Ten sagas, at most, and ten quarantined keys that an operator has to see to."""
    dead_letters: int | None
    """Those that nobody has sent back."""
    silent: Sequence[str]

    def age_seconds(self, source: relay_pb.Source) -> float:
        """Of the oldest row that is not published; 0 where there is none."""
        if not source.HasField("oldest_unpublished_time"):
            return 0.0
        oldest = source.oldest_unpublished_time.ToDatetime(tzinfo=UTC)
        return max(0.0, (self.time - oldest).total_seconds())

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "parts": [
                {"name": one.name, "address": one.address, "pid": one.pid, "ready": one.ready}
                for one in self.parts
            ],
            "sources": None
            if self.sources is None
            else [told(one) | {"oldestAgeSeconds": self.age_seconds(one)} for one in self.sources],
            "sagas": self.sagas,
            "participants": None
            if self.participants is None
            else [told(one) for one in self.participants],
            "troubles": [
                {
                    "orderId": one.order_id,
                    "saga": told(one.saga) if one.saga else None,
                    "advice": [{"problem": it.problem, "todo": it.todo} for it in one.advice],
                }
                for one in self.troubles
            ],
            "deadLetters": self.dead_letters,
            "silent": list(self.silent),
        }


@dataclass(frozen=True, slots=True)
class _Sagas:
    counts: Mapping[str, int]
    troubles: Sequence[Trouble]
    participants: Sequence[saga_pb2.Participant]


def survey(stack: LocalStack) -> Survey:
    """Ask everybody who answers; whoever is known to be away is not waited for.

    Raises:
        StackError: a setting of the local stack is wrong.
    """
    parts = [_elsewhere(part) for part in stack.status()]
    ready = {part.name for part in parts if part.ready}
    silent: list[str] = []
    sources = _ask("outbox_relay", ready, _sources, silent)
    sagas = _ask("saga_orchestrator", ready, _sagas, silent)
    return Survey(
        time=datetime.now(UTC),
        parts=parts,
        sources=sources[0] if sources else None,
        sagas=sagas.counts if sagas else None,
        participants=sagas.participants if sagas else None,
        troubles=(*(sagas.troubles if sagas else ()), *(sources[1] if sources else ())),
        dead_letters=_dead_letters(stack, ready, silent),
        silent=silent,
    )


def _elsewhere(part: PartStatus) -> PartStatus:
    """The service that the environment names instead of the local stack's, if it does."""
    services = {spec.name for spec in SERVICES}
    if part.name not in services or f"TRACKOPS_{part.name.upper()}_TARGET" not in os.environ:
        return part
    address = target_of(part.name)
    if address == part.address:
        return part
    return replace(part, address=address, pid=None, ready=is_serving(address, own_credentials()))


def _ask(
    service: str, ready: set[str], ask: Callable[[grpc.Channel], T], silent: list[str]
) -> T | None:
    if service not in ready:
        return None
    try:
        target = target_of(service)
        with (
            open_channel(target, token=access_token, timeout_seconds=_SECONDS) as channel,
            typed_errors(),
        ):
            return ask(channel)
    except (TrackOpsError, StackError) as error:
        silent.append(f"{service} at {target}: {error}")
        return None


def _sources(channel: grpc.Channel) -> tuple[Sequence[relay_pb.Source], Sequence[Trouble]]:
    stub: Any = RelayServiceStub(channel)
    sources = stub.ListSources(relay_pb.ListSourcesRequest()).sources
    waiting = (
        Trouble(key.key, list(advise_on_key(source.name, key)))
        for source in sources
        if source.quarantined_keys and not source.refusal
        for key in stub.ListQuarantine(
            relay_pb.ListQuarantineRequest(source=source.name, page_size=_SHOWN)
        ).keys
    )
    return list(sources), list(islice(waiting, _SHOWN))


def _sagas(channel: grpc.Channel) -> _Sagas:
    stub: Any = SagaServiceStub(channel)
    found = {state: _in_state(stub, state) for state in LIVE_STATES}
    held_up = [saga for state in _HELD_UP for saga in found[state]]
    waiting = [
        saga
        for state in (saga_pb2.SAGA_STATE_RUNNING, saga_pb2.SAGA_STATE_COMPENSATING)
        for saga in found[state]
        if any(step.parked or step.attempts >= _IN_VAIN for step in saga.steps)
    ]
    participants = stub.ListParticipants(saga_rpc_pb.ListParticipantsRequest()).participants
    return _Sagas(
        {saga_state(state): len(sagas) for state, sagas in found.items()},
        [_trouble(stub, saga) for saga in (*held_up, *waiting)[:_SHOWN]],
        list(participants),
    )


def _in_state(stub: Any, state: saga_pb2.SagaState.ValueType) -> list[saga_pb2.Saga]:
    request = saga_rpc_pb.ListSagasRequest(states=[state], page_size=MOST_SAGAS)
    return list(islice(pages(stub.ListSagas, request, "sagas"), MOST_SAGAS))


def _trouble(stub: Any, listed: saga_pb2.Saga) -> Trouble:
    saga = stub.GetSaga(saga_rpc_pb.GetSagaRequest(saga_id=listed.saga_id)).saga
    return Trouble(saga.subject, list(advise_on_saga(saga)), saga)


def _dead_letters(stack: LocalStack, ready: set[str], silent: list[str]) -> int | None:
    from trackops_cli.dead_letter_log import DeadLetterLog  # it loads Kafka's client

    bootstrap = os.environ.get("TRACKOPS_KAFKA_BOOTSTRAP_SERVERS")
    if not bootstrap and "kafka" not in ready:
        return None
    try:
        log = DeadLetterLog(kafka_access(bootstrap or "", stack))
        return sum(not one.replayed for one in log.read())
    except StackError as error:
        silent.append(str(error))
        return None
