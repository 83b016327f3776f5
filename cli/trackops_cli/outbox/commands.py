"""The commands: each asks any replica of the relay and shows what it says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.markup import escape
from rich.table import Table
from trackops.relay.v1 import relay_service_pb2 as pb
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_cli.calls import AS_JSON, calling, pages, print_json, told
from trackops_cli.terminal import OUT, say

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="See and steer what the relay does with outboxes.")

_SECONDS = 40.0
_COMPARE_SECONDS = 600.0

Relay = Annotated[
    str,
    typer.Option(
        envvar="TRACKOPS_OUTBOX_RELAY_TARGET",
        help="host:port of the relay; by default the local stack's.",
    ),
]
Source = Annotated[str, typer.Argument(help="The schema, such as trackops_order.")]
Key = Annotated[str, typer.Argument(help="The aggregate's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept for the audit.")]


@app.command("list")
def list_sources(relay: Relay = "", *, as_json: AS_JSON = False) -> None:
    """Every source: how far it is published, what waits, and whether it stands still."""
    with _relay(relay) as stub:
        answer = stub.ListSources(pb.ListSourcesRequest())
    if as_json:
        print_json(answer)
        return
    table = Table("source", "checkpoint", "behind", "oldest", "quarantined", "state")
    for one in answer.sources:
        table.add_row(
            escape(one.name),
            str(one.checkpoint.seq),
            str(one.rows_behind),
            _time(one, "oldest_unpublished_time"),
            str(one.quarantined_keys),
            "[red]stands still[/]" if one.refusal else "published",
        )
    OUT.print(table)
    for one in answer.sources:
        if one.refusal:
            say(one.refusal)


@app.command()
def quarantine(
    source: Source,
    relay: Relay = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """The keys of a source whose rows wait, and why."""
    with _relay(relay) as stub:
        request = pb.ListQuarantineRequest(source=source)
        keys = list(pages(stub.ListQuarantine, request, "keys"))
    if as_json:
        print_json(pb.ListQuarantineResponse(keys=keys))
        return
    table = Table("key", "reason", "first seq", "last seq", "rows", "since", "detail")
    for one in keys:
        table.add_row(
            escape(one.key),
            _reason(one.reason),
            str(one.first_seq),
            str(one.last_seq),
            str(one.rows),
            _time(one, "quarantine_time"),
            escape(one.detail),
        )
    OUT.print(table)


@app.command()
def replay(
    source: Source,
    key: Key,
    reason: Reason,
    relay: Relay = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Publish the rows of a key that wait, in order and once."""
    request = pb.ReplayQuarantineRequest(
        request_id=str(uuid.uuid4()), source=source, key=key, reason=reason
    )
    with _relay(relay) as stub:
        answer = stub.ReplayQuarantine(request)
    if as_json:
        print_json(answer)
        return
    say(f"published {answer.published_rows} rows of {key}")
    _say_remaining(answer)


@app.command()
def discard(
    source: Source,
    key: Key,
    through_seq: Annotated[int, typer.Option(help="The last row to give up; it must wait.")],
    reason: Reason,
    relay: Relay = "",
    *,
    as_json: AS_JSON = False,
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
    if as_json:
        print_json(answer)
        return
    say(f"gave up {answer.discarded_rows} rows of {key}, published {answer.published_rows}")
    _say_remaining(answer)


@app.command()
def rebase(
    source: Source,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; otherwise it is shown.")] = False,
    reason: Annotated[str, typer.Option(help="Why; --apply needs it.")] = "",
    relay: Relay = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Compare the outbox with the log, and set the checkpoint to where they part."""
    if apply and not reason:
        raise typer.BadParameter("--apply needs --reason")
    with _relay(relay, timeout_seconds=_COMPARE_SECONDS) as stub:
        answer = stub.PlanRebase(pb.PlanRebaseRequest(source=source))
        if not as_json:
            OUT.print(_plan_table(source, answer))
        done = _apply(stub, source, answer.plan.digest, reason) if apply else None
    if as_json:
        print_json({"planned": told(answer), "done": told(done) if done else None})
    elif done:
        say(f"{source} goes on after seq {done.checkpoint.seq}")
    else:
        say("nothing was changed; --apply --reason=… does it")


def _apply(stub: Any, source: str, digest: str, reason: str) -> pb.RebaseResponse:
    answer: pb.RebaseResponse = stub.Rebase(
        pb.RebaseRequest(request_id=str(uuid.uuid4()), source=source, digest=digest, reason=reason)
    )
    return answer


@app.command()
def audit(
    source: Source,
    relay: Relay = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """What operators did to a source, the newest first."""
    with _relay(relay) as stub:
        request = pb.ListOperationsRequest(source=source)
        operations = list(pages(stub.ListOperations, request, "operations"))
    if as_json:
        print_json(pb.ListOperationsResponse(operations=operations))
        return
    table = Table("when", "what", "key", "by", "reason", "state", "outcome")
    for one in operations:
        table.add_row(
            _time(one, "request_time"),
            escape(one.kind),
            escape(one.key),
            escape(one.principal),
            escape(one.reason),
            pb.Operation.State.Name(one.state).removeprefix("STATE_").lower(),
            escape(one.outcome),
        )
    OUT.print(table)


@contextmanager
def _relay(target: str, *, timeout_seconds: float = _SECONDS) -> Iterator[Any]:
    with calling("outbox_relay", target, timeout_seconds=timeout_seconds) as channel:
        yield RelayServiceStub(channel)


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
        say(f"waits again from seq {left.first_seq}: {_reason(left.reason)}, {left.detail}")


def _reason(reason: pb.QuarantineReason.ValueType) -> str:
    name = pb.QuarantineReason.Name(reason)
    return name.removeprefix("QUARANTINE_REASON_").lower().replace("_", " ")


def _time(message: Any, field: str) -> str:
    if not message.HasField(field):
        return "-"
    time: Timestamp = getattr(message, field)
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")
