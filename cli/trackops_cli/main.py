"""The `trackops` command."""

import asyncio

import typer
from rich.table import Table

from trackops_cli import deadletters, saga
from trackops_cli.account import login, logout, token
from trackops_cli.local.home import Home
from trackops_cli.local.stack import PartStatus
from trackops_cli.order import app as order_app
from trackops_cli.outbox import commands as outbox
from trackops_cli.overview.commands import doctor, status
from trackops_cli.terminal import OUT, local_stack, one_line_errors, say

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(order_app, name="order")
app.command()(status)
app.command()(doctor)
app.command()(login)
app.command()(logout)
app.command()(token)
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(saga.app, name="saga")
app.add_typer(outbox.app, name="outbox")


@app.callback()
def trackops() -> None:
    """Runs and inspects TrackOps on this machine."""


@app.command()
def up() -> None:
    """Start servers and services, and wait until every one is SERVING; harmless to repeat."""
    with one_line_errors():
        stack = local_stack()
        stack.up()
        OUT.print(_addresses(stack.status()))
        say(f"logs are in {Home.from_environment().logs}")


@app.command()
def down() -> None:
    """Stop everything and keep the data."""
    with one_line_errors():
        stopped = local_stack().down()
        say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def reset() -> None:
    """Stop everything and remove the data."""
    with one_line_errors():
        local_stack().reset()
        say("stopped everything and removed its data")


@app.command()
def demo() -> None:
    """Send 200 orders through every service (`up` if needed); exits 0 only if all is sound."""
    from trackops_cli.demo.run import run_demo  # it loads Kafka's and gRPC's clients

    with one_line_errors():
        stack = local_stack()
        stack.up()
        if not asyncio.run(run_demo(stack.addresses, OUT)):
            raise typer.Exit(1)


def _addresses(parts: list[PartStatus]) -> Table:
    table = Table("what", "address", title="TrackOps is up", title_justify="left")
    for part in parts:
        table.add_row(part.name, part.address)
    return table
