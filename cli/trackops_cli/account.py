"""`trackops login`, `logout` and `token`: who the command's calls are made by."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from trackops_cli.calls import REFUSED, UNREACHABLE
from trackops_cli.credentials import Credentials, of_environment
from trackops_cli.local.errors import IdentityRefused, StackError
from trackops_cli.terminal import fail, say

__all__ = ["login", "logout", "token"]

_ROLES = ("customer", "support", "operator", "service", "admin")


def login(
    email: Annotated[
        str, typer.Option(help="Whose account; asked for if left out. A piped password is read.")
    ] = "",
) -> None:
    """Log in; the commands that follow call in your name."""
    email = email or typer.prompt("E-mail", err=True)
    password = _password("Password: ")
    with _explained():
        _log_in(of_environment(), email, password)
    say(f"logged in as {email}")


def logout() -> None:
    """Log out: end the session and forget its tokens."""
    with _explained():
        ended = of_environment().logout()
    say("logged out" if ended else "nobody was logged in")


def token(
    role: Annotated[
        str, typer.Option(help=f"On a development mesh, one of {', '.join(_ROLES)}.")
    ] = "",
) -> None:
    """Print an access token alone, for `grpcurl -H "authorization: Bearer $(trackops token)"`."""
    if role and role not in _ROLES:
        raise typer.BadParameter(f"not one of {', '.join(_ROLES)}", param_hint="--role")
    with _explained():
        text = of_environment().access_token(role)
    print(text)  # noqa: T201 - no wrapping


def _log_in(credentials: Credentials, email: str, password: str) -> None:
    """A password that was handed out is replaced on the way."""
    try:
        credentials.login(email, password)
    except IdentityRefused as error:
        if error.reason != "PASSWORD_MUST_CHANGE":
            raise
        say("this password was handed out; choose one of your own")
        credentials.login(email, password, _new_password())


def _new_password() -> str:
    """Typed twice at a terminal, where nobody sees it."""
    chosen = _password("New password: ")
    if sys.stdin.isatty() and _password("Once more: ") != chosen:
        raise fail(REFUSED, "the two are not the same; nothing was changed")
    return chosen


def _password(prompt: str) -> str:
    """Asked for without echo, or the next line of what is piped in."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt, stream=sys.stderr)
    return sys.stdin.readline().rstrip("\r\n")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except IdentityRefused as error:
        raise fail(UNREACHABLE if error.no_answer else REFUSED, str(error)) from error
    except StackError as error:
        raise fail(REFUSED, str(error)) from error
