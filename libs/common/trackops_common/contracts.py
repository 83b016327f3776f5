"""Every RPC of the contracts, found in the stubs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import trackops
from google.protobuf.descriptor import MethodDescriptor

__all__ = ["rpcs"]


def rpcs() -> Sequence[MethodDescriptor]:
    """By service, in the order in which the contracts have them."""
    files = sorted(
        file.relative_to(root).with_suffix("")
        for root in map(Path, trackops.__path__)
        for file in root.rglob("*_service_pb2.py")
    )
    modules = [importlib.import_module(".".join(["trackops", *file.parts])) for file in files]
    return [
        method
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
