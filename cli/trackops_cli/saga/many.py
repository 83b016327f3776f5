"""`trackops saga many`: one command for every saga that matches."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Steering:
    rpc: str
    request: Callable[..., Any]
    done: str
    """What was done to the sagas, for people."""
    help: str


_COMMANDS = {
    "pause": _Steering(
        "PauseSagas",
        pb.PauseSagasRequest,
        "held",
        "Hold those that are on their way or wait for their turn.",
    ),
    "resume": _Steering(
        "ResumeSagas", pb.ResumeSagasRequest, "resumed", "Let those that are paused go on."
    ),
    "retry": _Steering(
        "RetrySteps",
        pb.RetryStepsRequest,
        "retried",
        "Send every stuck step of those that need an operator once more.",
    ),
    "compensate": _Steering(
        "CompensateSagas",
        pb.CompensateSagasRequest,
        "turned back",
        "Turn back those that run or are paused and are before their point of no return.",
    ),
}


def _command(steering: _Steering) -> Callable[..., None]:
    def steer(
        reason: Reason,
        definition: Definition = "",
        failure_reason: FailureReason = "",
        older_than: OlderThan = 0,
        target: Target = "",
        *,
        dry_run: DryRun = False,
        as_json: AS_JSON = False,
    ) -> None:
        request = steering.request(
            request_id=str(uuid.uuid4()),
            reason=reason,
            dry_run=dry_run,
            selection=pb.SagaSelection(
                definition=definition, failure_reason=failure_reason, older_than_seconds=older_than
            ),
        )
        with saga_service(target) as sagas:
            steered = getattr(sagas, steering.rpc)(request)
            _tell(steering.done, steered, dry_run=dry_run, as_json=as_json)

    return steer


for _name, _steering in _COMMANDS.items():
    many.command(_name, help=_steering.help)(_command(_steering))


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
