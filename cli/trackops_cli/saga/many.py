"""`trackops saga many`: one command for every saga that matches."""

import uuid
from typing import Annotated, Any

import typer
from trackops.saga.v1 import saga_service_pb2 as pb

from trackops_cli.calls import AS_JSON, print_json
from trackops_cli.saga.commands import Reason, Target, saga_service
from trackops_cli.terminal import OUT

__all__ = ["many"]

many = typer.Typer(
    no_args_is_help=True,
    help="Steer every saga that matches, a thousand in one go; look with --dry-run first.",
)

Definition = Annotated[str, typer.Option(help="Only sagas of it, such as place-order.")]
FailureReason = Annotated[str, typer.Option(help="Only those that turned back for it.")]
OlderThan = Annotated[
    int, typer.Option(min=0, metavar="SECONDS", help="Only those unchanged for so long.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which, and do nothing.")]


@many.command()
def pause(
    reason: Reason,
    definition: Definition = "",
    failure_reason: FailureReason = "",
    older_than: OlderThan = 0,
    target: Target = "",
    *,
    dry_run: DryRun = False,
    as_json: AS_JSON = False,
) -> None:
    """Hold those that are on their way or wait for their turn."""
    chosen = _selection(definition, failure_reason, older_than)
    request = pb.PauseSagasRequest(**_fields(reason, dry_run=dry_run), selection=chosen)
    with saga_service(target) as sagas:
        _tell("held", sagas.PauseSagas(request), dry_run=dry_run, as_json=as_json)


@many.command()
def resume(
    reason: Reason,
    definition: Definition = "",
    failure_reason: FailureReason = "",
    older_than: OlderThan = 0,
    target: Target = "",
    *,
    dry_run: DryRun = False,
    as_json: AS_JSON = False,
) -> None:
    """Let those that are paused go on."""
    chosen = _selection(definition, failure_reason, older_than)
    request = pb.ResumeSagasRequest(**_fields(reason, dry_run=dry_run), selection=chosen)
    with saga_service(target) as sagas:
        _tell("resumed", sagas.ResumeSagas(request), dry_run=dry_run, as_json=as_json)


@many.command()
def retry(
    reason: Reason,
    definition: Definition = "",
    failure_reason: FailureReason = "",
    older_than: OlderThan = 0,
    target: Target = "",
    *,
    dry_run: DryRun = False,
    as_json: AS_JSON = False,
) -> None:
    """Send every stuck step of those that need an operator once more."""
    chosen = _selection(definition, failure_reason, older_than)
    request = pb.RetryStepsRequest(**_fields(reason, dry_run=dry_run), selection=chosen)
    with saga_service(target) as sagas:
        _tell("retried", sagas.RetrySteps(request), dry_run=dry_run, as_json=as_json)


@many.command()
def compensate(
    reason: Reason,
    definition: Definition = "",
    failure_reason: FailureReason = "",
    older_than: OlderThan = 0,
    target: Target = "",
    *,
    dry_run: DryRun = False,
    as_json: AS_JSON = False,
) -> None:
    """Turn back those that run or are paused and are before their point of no return."""
    chosen = _selection(definition, failure_reason, older_than)
    request = pb.CompensateSagasRequest(**_fields(reason, dry_run=dry_run), selection=chosen)
    with saga_service(target) as sagas:
        _tell("turned back", sagas.CompensateSagas(request), dry_run=dry_run, as_json=as_json)


def _selection(definition: str, failure_reason: str, older_than: int) -> pb.SagaSelection:
    return pb.SagaSelection(
        definition=definition, failure_reason=failure_reason, older_than_seconds=older_than
    )


def _fields(reason: str, *, dry_run: bool) -> dict[str, Any]:
    return {"request_id": str(uuid.uuid4()), "reason": reason, "dry_run": dry_run}


def _tell(done: str, steered: Any, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(steered)
        return
    sagas = "1 saga" if steered.count == 1 else f"{steered.count} sagas"
    OUT.print(f"{sagas} would be {done}" if dry_run else f"{sagas} {done}", highlight=False)
    for saga_id in steered.sample_saga_ids:
        OUT.print(f"  {saga_id}", highlight=False)
    if steered.count > len(steered.sample_saga_ids):
        OUT.print("  …")
    if steered.more:
        OUT.print("more match than were looked at: the same command again takes the next")
