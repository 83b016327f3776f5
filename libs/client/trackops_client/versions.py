"""Callers read their own writes: what a channel's changes of orders have shown it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from trackops.order.v1.order_pb2 import Order
from trackops.order.v1.order_service_pb2 import BatchGetOrdersRequest, GetOrderRequest

__all__ = ["SeenVersions"]

M = TypeVar("M", bound=Message)

_PACKAGE = Order.DESCRIPTOR.file.package


class SeenVersions:
    """The latest version of each order that changes on one channel have answered.

    At most `limit` orders, those changed last. May be shared by threads.
    """

    def __init__(self, limit: int = 8192) -> None:
        self._limit = limit
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def asked_for(self, request: M) -> M:
        """`request`, or a copy that asks for the versions seen where it asks for none.

        The caller's own message stays as it is: it may be sent again after another change.
        """
        match request:
            case GetOrderRequest() if request.min_version == 0:
                if seen := self._seen(request.order_id):
                    return _copy(request, min_version=seen)
            case BatchGetOrdersRequest():
                own = request.min_versions
                ids = (id_ for id_ in request.order_ids if id_ not in own)
                if seen_of := {id_: seen for id_ in ids if (seen := self._seen(id_))}:
                    return _copy(request, min_versions=seen_of)
        return request

    def watches(self, request: Message) -> bool:
        """Whether the outcome of a call with `request` is to be told."""
        return _is_read(request) or _is_change(request.DESCRIPTOR)

    def answered(self, request: Message, response: Message) -> None:
        """Remember what the response to a change of orders shows."""
        if _is_change(request.DESCRIPTOR):
            for order_id, version in _versions_in(response):
                self._remember(order_id.lower(), version)

    def failed(self, request: Message, code: grpc.StatusCode | None) -> None:
        """Forget versions that the server says were never reached.

        So its database was restored to a time before them. One call tells the
        caller that; the next one shows what there is.
        """
        if code is grpc.StatusCode.FAILED_PRECONDITION and _is_read(request):
            with self._lock:
                for order_id in _ids_in(request):
                    self._versions.pop(order_id.lower(), None)

    def _seen(self, order_id: str) -> int:
        with self._lock:
            return self._versions.get(order_id.lower(), 0)

    def _remember(self, order_id: str, version: int) -> None:
        with self._lock:
            self._versions[order_id] = max(version, self._versions.get(order_id, 0))
            self._versions.move_to_end(order_id)
            if len(self._versions) > self._limit:
                self._versions.popitem(last=False)


def _copy(request: M, **fields: Any) -> M:
    copy = type(request)(**fields)
    copy.MergeFrom(request)
    return copy


def _is_read(request: Message) -> bool:
    return isinstance(request, GetOrderRequest | BatchGetOrdersRequest)


def _ids_in(request: Any) -> list[str]:
    return list(request.order_ids) if hasattr(request, "order_ids") else [request.order_id]


@cache
def _is_change(descriptor: Descriptor) -> bool:
    """Whether a request of this type changes an order, or many: these have request ids."""
    if descriptor.file.package != _PACKAGE:
        return False
    requests = descriptor.fields_by_name.get("requests")
    return "request_id" in descriptor.fields_by_name or (
        requests is not None
        and requests.message_type is not None
        and _is_change(requests.message_type)
    )


def _versions_in(response: Any) -> Iterator[tuple[str, int]]:
    """Of a change's response, which holds the order or its id and version; also of a batch's."""
    fields = response.DESCRIPTOR.fields_by_name
    if "results" in fields:
        for result in response.results:
            if result.HasField("response"):
                yield from _versions_in(result.response)
        return
    shown = response.order if "order" in fields else response
    if shown.order_id:
        yield shown.order_id, shown.version
