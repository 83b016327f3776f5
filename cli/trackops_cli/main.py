"""The `trackops` command."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table

from trackops_cli.local.errors import DiskFull, StackError
from trackops_cli.local.home import Home
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack, PartStatus

__all__ = ["app", "local_stack"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_out = Console()
_err = Console(stderr=True)


@app.callback()
def trackops() -> None:
    """Runs and inspects TrackOps on this machine."""


@app.command()
def up() -> None:
    """Start servers and services, and wait until every one is SERVING; harmless to repeat."""
    with one_line_errors():
        stack = local_stack()
        stack.up()
        _out.print(_addresses(stack))


@app.command()
def down() -> None:
    """Stop everything and keep the data."""
    with one_line_errors():
        stopped = local_stack().down()
        _say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def reset() -> None:
    """Stop everything and remove the data."""
    with one_line_errors():
        local_stack().reset()
        _say("stopped everything and removed its data")


@app.command()
def status() -> None:
    """Show which processes run and whether they answer; exits 1 unless all do."""
    with one_line_errors():
        parts = local_stack().status()
        _out.print(_status_table(parts))
        if not all(part.ready for part in parts):
            raise typer.Exit(1)


def local_stack() -> LocalStack:
    """The stack that TRACKOPS_HOME and TRACKOPS_PORT_… name, telling its progress."""
    return LocalStack(Home.from_environment().root, Ports.from_environment(), _say)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the command with one line and status 1 for what its user can put right."""
    try:
        yield
    except StackError as error:
        raise _failure(error) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _failure(DiskFull(Home.from_environment().root)) from error


def _failure(error: StackError) -> typer.Exit:
    _err.print(f"trackops: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _say(line: str) -> None:
    _err.print(f"trackops: {line}", markup=False, highlight=False, soft_wrap=True)


def _addresses(stack: LocalStack) -> Table:
    table = Table("what", "address", "log", title="TrackOps is up")
    for part in stack.status():
        table.add_row(part.name, part.address, str(part.log))
    return table


def _status_table(parts: list[PartStatus]) -> Table:
    table = Table("what", "address", "pid", "state", "log")
    for part in parts:
        table.add_row(part.name, part.address, str(part.pid or "-"), _state_of(part), str(part.log))
    return table


def _state_of(part: PartStatus) -> str:
    if part.pid is None:
        return "[red]down[/]"
    return "[green]SERVING[/]" if part.ready else "[yellow]NOT SERVING[/]"
