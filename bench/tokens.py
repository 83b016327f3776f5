"""Whose calls the benchmarks make: an administrator's of the stack that they start."""

from __future__ import annotations

import os

from trackops_cli.credentials import of_environment
from trackops_cli.local.stack import LocalStack

__all__ = ["bearer", "call_as_admin_of"]


def call_as_admin_of(stack: LocalStack) -> None:
    """Let `bearer`, in this process and in those it starts from now on, be an administrator's."""
    os.environ["TRACKOPS_HOME"] = str(stack.context.home.root)
    os.environ["TRACKOPS_PORT_IDENTITY"] = str(stack.context.ports.identity)


def bearer() -> tuple[tuple[str, str], ...]:
    """The metadata of a call, for some minutes."""
    return (("authorization", f"Bearer {of_environment().access_token('admin')}"),)
