"""What of the contracts is on the edge: the RPCs that have a path of their own for REST.

An RPC without `google.api.http` cannot be reached from outside, neither as REST nor as gRPC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2
from trackops.common.v1 import authorization_pb2
from trackops.identity.v1 import identity_service_pb2
from trackops.inventory.v1 import inventory_service_pb2
from trackops.order.v1 import order_service_pb2
from trackops.payment.v1 import payment_service_pb2

__all__ = ["SERVICES", "EdgeRpc", "descriptor_set", "edge_rpcs", "transcoded_services"]

_CONTRACTS = {
    "order": order_service_pb2.DESCRIPTOR,
    "inventory": inventory_service_pb2.DESCRIPTOR,
    "payment": payment_service_pb2.DESCRIPTOR,
    "identity": identity_service_pb2.DESCRIPTOR,
}

SERVICES = tuple(_CONTRACTS)
"""The services behind the edge, by the names that they have everywhere."""


@dataclass(frozen=True)
class EdgeRpc:
    """One RPC and how it is called over REST."""

    service: str
    """One of SERVICES."""
    method: MethodDescriptor
    verb: str
    """"GET" or "POST"."""
    template: str
    """Such as `/v1/orders/{order_id}:cancel`; fields of the request stand in braces."""
    public: bool
    """Whether it is called without a token."""

    @property
    def grpc_path(self) -> str:
        """Such as `/trackops.order.v1.OrderService/CancelOrder`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


def edge_rpcs() -> Sequence[EdgeRpc]:
    """Every RPC on the edge, in the order of the contracts."""
    return [
        rpc
        for service, file in _CONTRACTS.items()
        for method in _methods(file)
        if (rpc := _on_edge(service, method)) is not None
    ]


def transcoded_services() -> Sequence[str]:
    """The full names of the gRPC services with an RPC on the edge."""
    return list(dict.fromkeys(rpc.method.containing_service.full_name for rpc in edge_rpcs()))


def descriptor_set() -> FileDescriptorSet:
    """The contracts with all that they import, and the details that errors carry."""
    files: dict[str, FileDescriptor] = {}
    for file in (*_CONTRACTS.values(), error_details_pb2.DESCRIPTOR):
        _collect(file, files)
    made = FileDescriptorSet()
    for file in files.values():
        made.file.add().ParseFromString(file.serialized_pb)
    return made


def _collect(file: FileDescriptor, into: dict[str, FileDescriptor]) -> None:
    for imported in file.dependencies:
        _collect(imported, into)
    into.setdefault(file.name, file)


def _methods(file: FileDescriptor) -> Iterator[MethodDescriptor]:
    services: Sequence[ServiceDescriptor] = list(file.services_by_name.values())
    for service in services:
        yield from service.methods


def _on_edge(service: str, method: MethodDescriptor) -> EdgeRpc | None:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return None
    rule = options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb not in ("get", "post") or rule.additional_bindings:
        raise ValueError(f"{method.full_name}: the edge knows one GET or POST an RPC")
    if rule.body != ("*" if verb == "post" else ""):
        raise ValueError(f"{method.full_name}: a POST has the request as its body, a GET has none")
    access = options.Extensions[authorization_pb2.authorization]
    return EdgeRpc(service, method, verb.upper(), getattr(rule, verb), access.public)
