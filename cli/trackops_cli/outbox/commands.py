"""The commands: each asks any replica of the relay and shows what it says."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from trackops.relay.v1 import relay_service_pb2 as pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_cli.local.errors import StackError
from trackops_cli.local.ports import HOST, Ports
from trackops_client import TrackOpsError, open_channel, typed_errors

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="See and steer what the relay does with outboxes.")
_out = Console()
_err = Console(stderr=True)

_TARGET = "TRACKOPS_OUTBOX_RELAY_TARGET"
_SECONDS = 40.0
_COMPARE_SECONDS = 600.0

Relay = Annotated[str, typer.Option(help="host:port of the relay; that of this machine's stack.")]
Source = Annotated[str, typer.Argument(help="The schema, such as trackops_order.")]
Key = Annotated[str, typer.Argument(help="The aggregate's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept for the audit.")]

T = TypeVar("T")


@app.command("list")
def list_sources(relay: Relay = "") -> None:
    """Every source: how far it is published, what waits, and whether it stands still."""
    with _relay(relay) as stub:
        sources = stub.ListSources(pb.ListSourcesRequest()).sources
    table = Table("source", "checkpoint", "behind", "oldest", "quarantined", "state")
    for one in sources:
        table.add_row(
            one.name,
            str(one.checkpoint.seq),
            str(one.rows_behind),
            _time(one, "oldest_unpublished_time"),
            str(one.quarantined_keys),
            "[red]stands still[/]" if one.refusal else "published",
        )
    _out.print(table)
    for one in sources:
        if one.refusal:
            _say(one.refusal)


@app.command()
def quarantine(source: Source, relay: Relay = "") -> None:
    """The keys of a source whose rows wait, and why."""
    table = Table("key", "reason", "first seq", "last seq", "rows", "since", "detail")
    with _relay(relay) as stub:
        for one in _pages(stub.ListQuarantine, pb.ListQuarantineRequest(source=source), "keys"):
            table.add_row(
                one.key,
                _reason(one.reason),
                str(one.first_seq),
                str(one.last_seq),
                str(one.rows),
                _time(one, "quarantine_time"),
                one.detail,
            )
    _out.print(table)


@app.command()
def replay(source: Source, key: Key, reason: Reason, relay: Relay = "") -> None:
    """Publish the rows of a key that wait, in order and once."""
    request = pb.ReplayQuarantineRequest(
        request_id=str(uuid.uuid4()), source=source, key=key, reason=reason
    )
    with _relay(relay) as stub:
        answer = stub.ReplayQuarantine(request)
    _say(f"published {answer.published_rows} rows of {key}")
    _say_remaining(answer)


@app.command()
def discard(
    source: Source,
    key: Key,
    through_seq: Annotated[int, typer.Option(help="The last row to give up; it must wait.")],
    reason: Reason,
    relay: Relay = "",
) -> None:
    """Give up rows of a key that wait, up to the one that is named, and publish the rest."""
    request = pb.DiscardQuarantineRequest(
        request_id=str(uuid.uuid4()),
        source=source,
        key=key,
        through_seq=through_seq,
        reason=reason,
    )
    with _relay(relay) as stub:
        answer = stub.DiscardQuarantine(request)
    _say(f"gave up {answer.discarded_rows} rows of {key}, published {answer.published_rows}")
    _say_remaining(answer)


@app.command()
def rebase(
    source: Source,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; otherwise it is shown.")] = False,
    reason: Annotated[str, typer.Option(help="Why; --apply needs it.")] = "",
    relay: Relay = "",
) -> None:
    """Compare the outbox with the log, and set the checkpoint to where they part."""
    if apply and not reason:
        raise typer.BadParameter("--apply needs --reason")
    with _relay(relay, timeout_seconds=_COMPARE_SECONDS) as stub:
        answer = stub.PlanRebase(pb.PlanRebaseRequest(source=source))
        _out.print(_plan_table(source, answer))
        if not apply:
            _say("nothing was changed; --apply --reason=… does it")
            return
        request = pb.RebaseRequest(
            request_id=str(uuid.uuid4()),
            source=source,
            digest=answer.plan.digest,
            reason=reason,
        )
        done = stub.Rebase(request)
    _say(f"{source} goes on after seq {done.checkpoint.seq}")


@app.command()
def audit(source: Source, relay: Relay = "") -> None:
    """What operators did to a source, the newest first."""
    table = Table("when", "what", "key", "by", "reason", "state", "outcome")
    with _relay(relay) as stub:
        operations = _pages(
            stub.ListOperations, pb.ListOperationsRequest(source=source), "operations"
        )
        for one in operations:
            table.add_row(
                _time(one, "request_time"),
                one.kind,
                one.key,
                one.principal,
                one.reason,
                pb.Operation.State.Name(one.state).removeprefix("STATE_").lower(),
                one.outcome,
            )
    _out.print(table)


@contextmanager
def _relay(target: str, *, timeout_seconds: float = _SECONDS) -> Iterator[Any]:
    """A stub of the relay; what goes wrong is one line and status 1."""
    try:
        with (
            open_channel(target or _default_target(), timeout_seconds=timeout_seconds) as channel,
            typed_errors(),
        ):
            yield RelayServiceStub(channel)
    except (TrackOpsError, StackError) as error:
        _err.print(f"trackops: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _default_target() -> str:
    local = Ports.from_environment().claim("outbox_relay").port
    return os.environ.get(_TARGET) or f"{HOST}:{local}"


def _pages(call: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    while True:
        page = call(request)
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _plan_table(source: str, answer: pb.PlanRebaseResponse) -> Table:
    plan = answer.plan
    table = Table(f"rebase of {source}", "")
    lost = f"{plan.events_not_in_outbox}"
    if plan.events_not_in_outbox:
        lost += f" (seq {plan.first_event_not_in_outbox} … {plan.last_event_not_in_outbox})"
    for what, figure in (
        ("checkpoint now", str(answer.current_checkpoint.seq)),
        ("checkpoint after", str(plan.checkpoint.seq)),
        ("rows that the log has", str(plan.rows_in_log)),
        ("rows to publish", str(plan.rows_to_publish)),
        ("rows skipped: given up before", str(plan.rows_passed_over)),
        ("keys in quarantine after", str(plan.keys_to_quarantine)),
        ("events of the log that the outbox lacks", lost),
        ("compared from seq", str(plan.judged_from_seq)),
    ):
        table.add_row(what, figure)
    return table


def _say_remaining(answer: Any) -> None:
    if answer.HasField("remaining"):
        left = answer.remaining
        _say(f"waits again from seq {left.first_seq}: {_reason(left.reason)}, {left.detail}")


def _reason(reason: pb.QuarantineReason.ValueType) -> str:
    name = pb.QuarantineReason.Name(reason)
    return name.removeprefix("QUARANTINE_REASON_").lower().replace("_", " ")


def _time(message: Any, field: str) -> str:
    if not message.HasField(field):
        return "-"
    time: Timestamp = getattr(message, field)
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")


def _say(line: str) -> None:
    _err.print(f"trackops: {line}", markup=False, highlight=False, soft_wrap=True)
