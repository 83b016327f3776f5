"""The `trackops` command."""

import asyncio
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from trackops_cli import deadletters, saga, service
from trackops_cli.account import login, logout, token
from trackops_cli.credentials import Credentials
from trackops_cli.local.errors import StackError
from trackops_cli.local.home import Home
from trackops_cli.local.stack import PartStatus
from trackops_cli.order import app as order_app
from trackops_cli.outbox import commands as outbox
from trackops_cli.overview.commands import doctor, status
from trackops_cli.terminal import OUT, local_stack, one_line_errors, say

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(order_app, name="order")
app.command()(status)
app.command()(doctor)
app.command()(login)
app.command()(logout)
app.command()(token)
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(saga.app, name="saga")
app.add_typer(service.app, name="service")
app.add_typer(outbox.app, name="outbox")


@app.callback()
def trackops() -> None:
    """Runs and inspects TrackOps on this machine."""


@app.command()
def up(
    *,
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="Mutual TLS to and between services; else as before."),
    ] = None,
) -> None:
    """Start servers and services, and wait until every one is SERVING; harmless to repeat."""
    with one_line_errors():
        stack = local_stack(tls=tls)
        stack.up()
        OUT.print(_addresses(stack.status()))
        if stack.tls:
            say(f"services speak TLS; certificates and keys are in {stack.authority.folder}")
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
def renew_certificates() -> None:
    """New keys and certificates for a mesh with TLS, which takes them in while it runs."""
    with one_line_errors():
        stack = local_stack()
        if not stack.tls:
            raise StackError("the services speak plain text; `trackops up --tls` changes that")
        stack.renew_certificates()
        say(f"renewed every certificate in {stack.authority.folder}")


@app.command()
def demo() -> None:
    """Send 200 orders through every service (`up` if needed); exits 0 only if all is sound."""
    from trackops_cli.demo.run import run_demo  # it loads Kafka's and gRPC's clients

    with one_line_errors():
        stack = local_stack()
        stack.up()
        credentials = Credentials.of_stack(stack.context.home, stack.addresses.services["identity"])
        token = partial(credentials.access_token, "admin")
        if not asyncio.run(run_demo(stack.addresses, token, OUT)):
            raise typer.Exit(1)


def _addresses(parts: list[PartStatus]) -> Table:
    table = Table("what", "address", title="TrackOps is up", title_justify="left")
    for part in parts:
        table.add_row(part.name, part.address)
    return table
