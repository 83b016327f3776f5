"""`trackops service`: one process of a service, from inside."""

from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from rich.markup import escape
from rich.table import Table
from trackops.common.v1 import admin_service_pb2 as pb
from trackops.common.v1.admin_service_pb2_grpc import AdminServiceStub

from trackops_cli.calls import AS_JSON, calling, print_json, shown_time
from trackops_cli.local.mesh import SERVICES
from trackops_cli.terminal import OUT, print_wide

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look into one process of a service.")

_NAMES = [spec.name for spec in SERVICES]


def _complete(begun: str) -> list[str]:
    return [name for name in _NAMES if name.startswith(begun)]


def _known(name: str) -> str:
    if name not in _NAMES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(_NAMES)}")
    return name


Name = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE", help="Such as order.", autocompletion=_complete, callback=_known
    ),
]
Target = Annotated[str, typer.Option(help="host:port of one replica; default: the local stack's.")]


@app.command()
def status(name: Name, target: Target = "", *, as_json: AS_JSON = False) -> None:
    """Show how a process fares, and what it depends on; exits 1 unless it serves."""
    with calling(name, target) as channel:
        stub: Any = AdminServiceStub(channel)
        found = stub.GetStatus(pb.GetStatusRequest())
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    if found.health == pb.SERVICE_HEALTH_NOT_SERVING:
        raise typer.Exit(1)


@app.command("log-levels")
def log_levels(name: Name, target: Target = "", *, as_json: AS_JSON = False) -> None:
    """List the loggers that have a level of their own."""
    with calling(name, target) as channel:
        stub: Any = AdminServiceStub(channel)
        found = stub.ListLogLevels(pb.ListLogLevelsRequest())
    if as_json:
        print_json(found)
        return
    table = Table("logger", "level", box=None)
    for one in found.levels:
        table.add_row(one.logger or "(root)", _level_name(one.level))
    print_wide(table)


@app.command("log-level")
def log_level(
    name: Name,
    level: Annotated[
        str, typer.Argument(help="debug, info, warning or error; parent: not one of its own.")
    ],
    logger: Annotated[str, typer.Option(help="A module; without it, all of them.")] = "",
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="Until it is as before.")] = 30,
    target: Target = "",
    *,
    as_json: AS_JSON = False,
) -> None:
    """Have a process write more or fewer log lines, for a while."""
    request = pb.SetLogLevelRequest(
        logger=logger, level=_level_number(level), lasts=Duration(seconds=60 * minutes)
    )
    with calling(name, target) as channel:
        stub: Any = AdminServiceStub(channel)
        changed = stub.SetLogLevel(request)
    if as_json:
        print_json(changed)
        return
    end = shown_time(changed, "end_time")
    OUT.print(f"until {end} UTC, then {_level_name(changed.then)} again", highlight=False)


def _print_status(found: pb.GetStatusResponse) -> None:
    health = pb.ServiceHealth.Name(found.health).removeprefix("SERVICE_HEALTH_")
    why = f": {found.reason}" if found.reason else ""
    head = f"{found.service} {found.version}, since {shown_time(found, 'start_time')} UTC: "
    OUT.print(head + health + why, markup=False, highlight=False, soft_wrap=True)
    table = Table("needs", "is", "", box=None)
    for one in found.dependencies:
        role = "" if one.required else "it can do without for a while"
        table.add_row(one.name, "there" if one.available else "away", escape(one.error) or role)
    print_wide(table)
    for worker in found.workers:
        if busy := worker.busy.ToTimedelta().total_seconds():
            OUT.print(f"{worker.name}: at the same work for {busy:.1f} s", markup=False)


def _level_number(name: str) -> "pb.LogLevel.ValueType":
    if name.lower() == "parent":
        return pb.LOG_LEVEL_UNSPECIFIED
    try:
        return pb.LogLevel.Value(f"LOG_LEVEL_{name.upper()}")
    except ValueError as error:
        raise typer.BadParameter(
            f"{name!r} is none of debug, info, warning, error, parent"
        ) from error


def _level_name(level: "pb.LogLevel.ValueType") -> str:
    if level == pb.LOG_LEVEL_UNSPECIFIED:
        return "the parent's"
    return pb.LogLevel.Name(level).removeprefix("LOG_LEVEL_").lower()
