"""Where the services are."""

from __future__ import annotations

import os

from trackops_cli.local.ports import HOST, Ports

__all__ = ["local_target_of", "target_of", "target_variable"]


def target_of(service: str, chosen: str = "") -> str:
    """Where a service (`saga_orchestrator`) is: as chosen, as TRACKOPS_<SERVICE>_TARGET says, or
    as the local stack has it.

    Raises:
        StackError: a port in the environment is none.
    """
    local = local_target_of(service)
    return chosen or os.environ.get(target_variable(service)) or local


def local_target_of(service: str) -> str:
    """Where the local stack has a service.

    Raises:
        StackError: a port in the environment is none.
    """
    return f"{HOST}:{Ports.from_environment().claim(service).port}"


def target_variable(service: str) -> str:
    """The environment variable that says where a service is."""
    return f"TRACKOPS_{service.upper()}_TARGET"
