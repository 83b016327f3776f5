"""What an operator does about one saga."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from trackops.saga.v1 import saga_pb2
from trackops.saga.v1 import saga_service_pb2 as pb
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_cli.calls import AS_JSON, calling, print_json, told
from trackops_cli.terminal import OUT, print_wide

__all__ = ["Reason", "Target", "app", "saga_service"]

app = typer.Typer(no_args_is_help=True, help="Show sagas and steer them.")
Target = Annotated[
    str,
    typer.Option(
        envvar="TRACKOPS_SAGA_ORCHESTRATOR_TARGET",
        help="host:port of the orchestrator; default: the local stack's.",
    ),
]
SagaId = Annotated[str, typer.Argument(help="As `trackops saga list` shows it.")]
StepName = Annotated[str, typer.Argument(help="As `trackops saga show` shows it.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the saga's audit.")]


@app.command("list")
def list_sagas(
    subject: Annotated[str, typer.Option(help="An order's id.")] = "",
    state: Annotated[list[str] | None, typer.Option(help="Such as NEEDS_OPERATOR.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    target: Target = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """List sagas, newest first."""
    states = [_state_number(name) for name in state or ()]
    with saga_service(target) as sagas:
        request = pb.ListSagasRequest(subject=subject, states=states, page_size=limit)
        found = sagas.ListSagas(request).sagas
    if as_json:
        print_json(pb.ListSagasResponse(sagas=found))
        return
    table = Table("saga", "definition", "subject", "state", "why", "changed", box=None)
    for one in found:
        why = one.failure_reason or one.parked_on or one.waits_for
        table.add_row(
            one.saga_id,
            escape(one.definition),
            escape(one.subject),
            _state(one.state),
            escape(why),
            _time(one, "update_time"),
        )
    print_wide(table)


@app.command()
def show(
    saga_id: SagaId,
    target: Target = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Show a saga with its steps, failed attempts and audit."""
    with saga_service(target) as sagas:
        request = pb.GetSagaRequest(saga_id=saga_id)
        _print(sagas.GetSaga(request).saga, as_json=as_json)


@app.command()
def watch(
    saga_id: SagaId,
    target: Target = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a change.")] = False,
) -> None:
    """Show a saga each time it has changed, until it has ended or Ctrl-C."""
    request = pb.WatchSagaRequest(saga_id=saga_id)
    try:
        with calling("saga_orchestrator", target) as channel:
            for seen in SagaServiceStub(channel).WatchSaga(request):
                if as_json:
                    print(json.dumps(told(seen.saga)), flush=True)  # noqa: T201 - no wrapping
                else:
                    _print(seen.saga, as_json=False)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def pause(
    saga_id: SagaId, reason: Reason, target: Target = "", *, as_json: AS_JSON = False
) -> None:
    """Hold a saga: nothing more is sent."""
    with saga_service(target) as sagas:
        request = pb.PauseSagaRequest(request_id=_new_id(), saga_id=saga_id, reason=reason)
        _print(sagas.PauseSaga(request).saga, as_json=as_json)


@app.command()
def resume(
    saga_id: SagaId, reason: Reason, target: Target = "", *, as_json: AS_JSON = False
) -> None:
    """Let a paused saga go on."""
    with saga_service(target) as sagas:
        request = pb.ResumeSagaRequest(request_id=_new_id(), saga_id=saga_id, reason=reason)
        _print(sagas.ResumeSaga(request).saga, as_json=as_json)


@app.command()
def retry(
    saga_id: SagaId,
    step: StepName,
    reason: Reason,
    target: Target = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Send a step that is stuck once more."""
    with saga_service(target) as sagas:
        request = pb.RetryStepRequest(
            request_id=_new_id(), saga_id=saga_id, step=step, reason=reason
        )
        _print(sagas.RetryStep(request).saga, as_json=as_json)


@app.command()
def skip(
    saga_id: SagaId,
    step: StepName,
    reason: Reason,
    target: Target = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Count a step as done, or undone, because you have seen to it."""
    with saga_service(target) as sagas:
        request = pb.SkipStepRequest(
            request_id=_new_id(), saga_id=saga_id, step=step, reason=reason
        )
        _print(sagas.SkipStep(request).saga, as_json=as_json)


@app.command()
def compensate(
    saga_id: SagaId, reason: Reason, target: Target = "", *, as_json: AS_JSON = False
) -> None:
    """Turn a saga back."""
    with saga_service(target) as sagas:
        request = pb.CompensateSagaRequest(request_id=_new_id(), saga_id=saga_id, reason=reason)
        _print(sagas.CompensateSaga(request).saga, as_json=as_json)


@contextmanager
def saga_service(target: str) -> Iterator[SagaServiceStub]:
    """The orchestrator; what goes wrong ends the command."""
    with calling("saga_orchestrator", target) as channel:
        yield SagaServiceStub(channel)


def _state_number(name: str) -> "saga_pb2.SagaState.ValueType":
    try:
        return saga_pb2.SagaState.Value(f"SAGA_STATE_{name.upper()}")
    except ValueError as error:
        known = ", ".join(one.removeprefix("SAGA_STATE_") for one in saga_pb2.SagaState.keys()[1:])
        raise typer.BadParameter(f"{name!r} is none of {known}") from error


def _print(saga: saga_pb2.Saga, *, as_json: bool) -> None:
    if as_json:
        print_json(saga)
        return
    _say(f"{saga.definition} v{saga.definition_version} {saga.saga_id}")
    _say(f"about {saga.subject} {saga.occurrence}: {_state(saga.state)}")
    if saga.failure_reason:
        _say(f"turned back: {saga.failure_reason}: {saga.failure_message}")
    if saga.waits_for:
        _say(f"waits for saga {saga.waits_for}")
    if saga.parked_on:
        _say(f"waits for {saga.parked_on}, which is away")
    OUT.print(_steps(saga))
    for entry in saga.audit:
        when = _time(entry, "create_time")
        step = f" {entry.step}" if entry.step else ""
        _say(f"{when} {entry.principal}: {entry.operation}{step}: {entry.reason}")


def _steps(saga: saga_pb2.Saga) -> Table:
    table = Table("step", "state", "attempts", "changed", "next try", "error")
    for step in saga.steps:
        state = saga_pb2.StepState.Name(step.state).removeprefix("STEP_STATE_")
        table.add_row(
            escape(step.name),
            state,
            str(step.attempts),
            _time(step, "update_time"),
            _time(step, "next_try_time"),
            escape(step.error),
        )
        for attempt in step.attempt_log:
            table.add_row(*_attempt_row(attempt))
    return table


def _attempt_row(attempt: saga_pb2.SagaAttempt) -> tuple[str, ...]:
    what = "undoing" if attempt.compensation else "doing"
    when = _time(attempt, "end_time") or f"sent {_time(attempt, 'send_time')}"
    due = _time(attempt, "next_try_time")
    return "", f"  {what}", f"#{attempt.number}", when, due, escape(attempt.error)


def _state(state: "saga_pb2.SagaState.ValueType") -> str:
    return saga_pb2.SagaState.Name(state).removeprefix("SAGA_STATE_")


def _time(message: Any, field: str) -> str:
    if not message.HasField(field):
        return ""
    time: datetime = getattr(message, field).ToDatetime()
    return time.isoformat(sep=" ", timespec="milliseconds")


def _new_id() -> str:
    return str(uuid.uuid4())


def _say(line: str) -> None:
    OUT.print(line, markup=False, highlight=False, soft_wrap=True)
