"""What every command has alike: its two streams, its stack, its errors as one line."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from trackops_cli.local.errors import DiskFull, StackError
from trackops_cli.local.home import Home
from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_common.grpc.text import printable

__all__ = ["OUT", "fail", "local_stack", "one_line_errors", "print_wide", "say"]


class _InertConsole(Console):
    """Shows what would steer the terminal as its escape: texts come from callers, and from servers
    that need not be ours."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=_inert(segment.text))


def _inert(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


OUT = _InertConsole()
_ERR = _InertConsole(stderr=True)
_WIDE = 180


def local_stack(*, tls: bool | None = None) -> LocalStack:
    """The stack that TRACKOPS_HOME and TRACKOPS_PORT_… name, telling its progress."""
    return LocalStack(Home.from_environment().root, Ports.from_environment(), say, tls=tls)


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


def say(line: str) -> None:
    """One line to the user, on the error stream."""
    _ERR.print(f"trackops: {line}", markup=False, highlight=False, soft_wrap=True)


def print_wide(content: RenderableType) -> None:
    """Ids stay whole, to be copied and searched for, also where the terminal has to wrap lines."""
    wide = OUT if OUT.width >= _WIDE else _InertConsole(width=_WIDE)
    wide.print(content)


def fail(status: int, line: str, more: Iterable[str] = ()) -> typer.Exit:
    """Says what went wrong, and what else there is to say about it; to be raised."""
    for text in (f"trackops: {line}", *(f"  {one}" for one in more)):
        _ERR.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(status)


def _failure(error: StackError) -> typer.Exit:
    return fail(1, str(error))
