"""Why an order does not go on, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trackops.order.v1 import order_pb2
from trackops.relay.v1 import relay_service_pb2 as relay_pb
from trackops.saga.v1 import saga_pb2

from trackops_cli.order.story import Story, event_state, step_state

__all__ = ["Advice", "advise", "advise_on_key", "advise_on_saga"]

_SOON = timedelta(seconds=5)
"""Longer than the relay or the orchestrator takes when all is well."""
_STUCK_STEPS = (saga_pb2.STEP_STATE_EXHAUSTED, saga_pb2.STEP_STATE_REFUSED)
_SENT = (saga_pb2.STEP_STATE_SENT, saga_pb2.STEP_STATE_COMPENSATING)
_IN_MOTION = (order_pb2.ORDER_STATE_PENDING, order_pb2.ORDER_STATE_CANCELLING)


@dataclass(frozen=True, slots=True)
class Advice:
    """What holds an order up, and the way on."""

    problem: str
    todo: str


def advise(story: Story, now: datetime) -> list[Advice]:
    """What holds the order up; empty where nothing does."""
    found = [one for saga in story.sagas for one in advise_on_saga(saga)]
    found += _on_events(story, now)
    if not found and not story.missing and _has_no_saga(story, now):
        found.append(
            Advice(
                f"the order is {order_pb2.OrderState.Name(story.order.state)[12:]} and no saga"
                " knows it, though its events are in Kafka",
                "`trackops deadletters list`: was its event given up? `trackops status`: does the"
                " saga_orchestrator run?",
            )
        )
    return found


def advise_on_key(source: str, held: relay_pb.QuarantinedKey) -> Iterator[Advice]:
    """What to do about rows of an outbox that cannot be published."""
    yield Advice(
        f"{held.rows} rows of {source} wait behind #{held.first_seq}: {held.detail}",
        f"remove the cause, then `trackops outbox replay {source} {held.key} --reason …`; or"
        f" `trackops outbox discard {source} {held.key} --through-seq {held.first_seq} --reason …`"
        " gives that row up",
    )


def advise_on_saga(saga: saga_pb2.Saga) -> Iterator[Advice]:
    """What holds a saga up."""
    name, id_ = saga.definition, saga.saga_id
    if saga.state == saga_pb2.SAGA_STATE_NEEDS_OPERATOR:
        yield from _on_stuck_steps(saga)
    elif saga.state == saga_pb2.SAGA_STATE_PAUSED:
        last = next((one for one in reversed(saga.audit) if one.operation == "pause"), None)
        by = f" by {last.principal}: {last.reason}" if last else ""
        yield Advice(f"{name} is PAUSED{by}", f"`trackops saga resume {id_} --reason …`")
    elif saga.state == saga_pb2.SAGA_STATE_QUEUED:
        yield Advice(
            f"{name} waits for its turn, behind saga {saga.waits_for}",
            f"nothing, unless that one is stuck: `trackops saga show {saga.waits_for}`",
        )
    else:
        yield from _on_retries(saga)


def _on_stuck_steps(saga: saga_pb2.Saga) -> Iterator[Advice]:
    for step in saga.steps:
        if step.state in _STUCK_STEPS:
            which = f"{saga.saga_id} {step.name} --reason …"
            yield Advice(
                f"{saga.definition} needs an operator: {step.name} is {step_state(step.state)}"
                f" after {step.attempts} attempts: {step.error}",
                f"remove the cause, then `trackops saga retry {which}`; or, once you have seen to"
                f" it yourself, `trackops saga skip {which}`",
            )


def _on_retries(saga: saga_pb2.Saga) -> Iterator[Advice]:
    for step in saga.steps:
        if step.parked:
            yield Advice(
                f"{saga.definition} waits with {step.name}: {step.error}",
                "bring that service back (`trackops status`); the saga goes on by itself",
            )
        elif step.state in _SENT and any(one.error for one in step.attempt_log):
            yield Advice(
                f"{saga.definition} tries {step.name} again and again,"
                f" {sum(1 for one in step.attempt_log if one.error)} times in vain: {step.error}",
                "remove the cause, it goes on by itself; "
                f"`trackops saga retry {saga.saga_id} {step.name} --reason …` tries at once",
            )


def _on_events(story: Story, now: datetime) -> Iterator[Advice]:
    told: set[tuple[str, int]] = set()
    for event in story.events:
        if (event.source, event.state) in told:
            continue
        what = f"{event.source} #{event.seq} {event.type.rpartition('.')[2]}"
        if event.state == relay_pb.EVENT_STATE_QUARANTINED:
            key = f"{event.source} {story.order.order_id} --reason …"
            yield Advice(
                f"{what} cannot be published, and what follows it waits",
                f"`trackops outbox quarantine {event.source}` says why; then"
                f" `trackops outbox replay {key}`",
            )
        elif event.state == relay_pb.EVENT_STATE_WAITING and _is_old(event, now):
            yield Advice(
                f"{what} is not published ({event_state(event.state)})",
                "`trackops outbox list`: does the source stand still, or is the relay away?",
            )
        else:
            continue
        told.add((event.source, event.state))


def _is_old(event: relay_pb.Event, now: datetime) -> bool:
    return now - event.occur_time.ToDatetime(tzinfo=UTC) > _SOON


def _has_no_saga(story: Story, now: datetime) -> bool:
    changed = story.order.update_time.ToDatetime(tzinfo=UTC)
    return not story.sagas and story.order.state in _IN_MOTION and now - changed > _SOON
