"""One time line of all that is known about an order, whoever knows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trackops.order.v1.order_pb2 import Order
from trackops.order.v1.order_service_pb2 import TimelineEntry
from trackops.relay.v1 import relay_service_pb2 as relay_pb
from trackops.saga.v1 import saga_pb2

from trackops_cli.calls import told
from trackops_cli.order.show import state_name, why

__all__ = ["Moment", "Story", "event_state", "moments", "place_of", "saga_state", "step_state"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, or is due."""

    time: datetime
    """Aware, in UTC."""
    teller: str
    """"order", "saga", "outbox" or "operator"."""
    what: str
    detail: str = ""
    of: dict[str, Any] = field(default_factory=dict)
    """What a program needs to find it again."""


@dataclass(frozen=True, slots=True)
class Story:
    """What the services said about one order."""

    order: Order
    changes: Sequence[TimelineEntry]
    sagas: Sequence[saga_pb2.Saga] = ()
    events: Sequence[relay_pb.Event] = ()
    operations: Sequence[tuple[str, relay_pb.Operation]] = ()
    """What operators did to the order's outbox rows, each with its source."""
    missing: Sequence[str] = ()
    """Who did not answer, and why: their part is not in here."""

    def document(self) -> dict[str, Any]:
        """For programs: the time line and what it was made of."""
        return {
            "order": told(self.order),
            "timeline": [
                {
                    "time": one.time.isoformat().replace("+00:00", "Z"),
                    "teller": one.teller,
                    "what": one.what,
                    "detail": one.detail,
                    **one.of,
                }
                for one in moments(self)
            ],
            "sagas": [told(one) for one in self.sagas],
            "events": [told(one) for one in self.events],
            "missing": list(self.missing),
        }


def moments(story: Story) -> list[Moment]:
    """All of it by time; what is due comes last."""
    found = [
        *map(_change, story.changes),
        *(moment for saga in story.sagas for moment in _of_saga(saga)),
        *map(_event, story.events),
        *(_operation(source, one) for source, one in story.operations),
    ]
    return sorted(found, key=lambda one: one.time)


def saga_state(state: saga_pb2.SagaState.ValueType) -> str:
    """NEEDS_OPERATOR and the like."""
    return saga_pb2.SagaState.Name(state).removeprefix("SAGA_STATE_")


def step_state(state: saga_pb2.StepState.ValueType) -> str:
    """EXHAUSTED and the like."""
    return saga_pb2.StepState.Name(state).removeprefix("STEP_STATE_")


def event_state(state: relay_pb.EventState.ValueType) -> str:
    """QUARANTINED and the like."""
    return relay_pb.EventState.Name(state).removeprefix("EVENT_STATE_")


def place_of(event: relay_pb.Event) -> str:
    """Where consumers find it: `trackops.order.events.v1[3]@44`; empty where that is not known."""
    return f"{event.topic}[{event.partition}]@{event.offset}" if event.HasField("offset") else ""


def _change(entry: TimelineEntry) -> Moment:
    what = f"v{entry.version} {state_name(entry.state)}"
    return Moment(_at(entry.enter_time), "order", what, why(entry), {"version": entry.version})


def _event(event: relay_pb.Event) -> Moment:
    what = f"{event.type.rpartition('.')[2]} {event_state(event.state)}"
    detail = " ".join(filter(None, [f"{event.source} #{event.seq}", place_of(event)]))
    of = {"eventId": event.event_id, "traceparent": event.traceparent}
    return Moment(_at(event.occur_time), "outbox", what, detail, of)


def _operation(source: str, one: relay_pb.Operation) -> Moment:
    what = f"{one.principal or 'somebody'}: {one.kind} {source}"
    detail = " ".join(filter(None, [one.reason, one.outcome]))
    return Moment(_at(one.request_time), "operator", what, detail)


def _of_saga(saga: saga_pb2.Saga) -> Iterator[Moment]:
    of = {"sagaId": saga.saga_id}
    yield Moment(_at(saga.create_time), "saga", f"{saga.definition} begins", saga.saga_id, of)
    for step in saga.steps:
        yield from _of_step(saga, step)
    for entry in saga.audit:
        what = " ".join(filter(None, [f"{entry.principal}: {entry.operation}", entry.step]))
        yield Moment(_at(entry.create_time), "operator", what, entry.reason, of)
    reason = ": ".join(filter(None, [saga.failure_reason, saga.failure_message]))
    what = f"{saga.definition} {saga_state(saga.state)}"
    yield Moment(_at(saga.update_time), "saga", what, reason, of)


def _of_step(saga: saga_pb2.Saga, step: saga_pb2.SagaStep) -> Iterator[Moment]:
    of = {"sagaId": saga.saga_id, "step": step.name}
    for failed in [one for one in step.attempt_log if one.error]:
        doing = "undoing" if failed.compensation else "attempt"
        what = f"{step.name} {doing} {failed.number} failed"
        yield Moment(_at(failed.end_time), "saga", what, failed.error, of)
    if step.HasField("update_time") and step.state != saga_pb2.STEP_STATE_WAITING:
        tries = f"{step.attempts} attempts" if step.attempts > 1 else ""
        parked = "parked: its participant is away" if step.parked else ""
        detail = "; ".join(filter(None, [tries, parked, step.error]))
        what = f"{step.name} {step_state(step.state)}"
        yield Moment(_at(step.update_time), "saga", what, detail, of)
    if step.HasField("next_try_time"):
        yield Moment(_at(step.next_try_time), "saga", f"{step.name} is due", of=of)


def _at(stamp: Any) -> datetime:
    moment: datetime = stamp.ToDatetime(tzinfo=UTC)
    return moment
