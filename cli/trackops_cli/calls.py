"""What every command that calls a service has alike: its target, its errors, its JSON.

Exit statuses: 0 done; 1 refused; 2 wrong usage; 3 nobody answered, or not in time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from trackops_cli.channels import open_channel, tls_advice
from trackops_cli.credentials import access_token
from trackops_cli.local.errors import StackError
from trackops_cli.targets import target_of, target_variable
from trackops_cli.terminal import fail
from trackops_client import TrackOpsError, typed_errors

__all__ = [
    "AS_JSON",
    "REFUSED",
    "UNREACHABLE",
    "calling",
    "is_unreachable",
    "pages",
    "print_json",
    "shown_time",
    "target_of",
    "told",
]

REFUSED = 1
UNREACHABLE = 3

AS_JSON = Annotated[
    bool, typer.Option("--json", help="One JSON document; messages in protobuf's JSON form.")
]

_SECONDS = 20.0
_STEERING = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What steers a terminal, other than what JSON escapes by itself."""
_NO_ANSWER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


@contextmanager
def calling(
    service: str, target: str = "", *, timeout_seconds: float = _SECONDS, unsure: str = ""
) -> Iterator[grpc.Channel]:
    """A channel to a service; what goes wrong ends the command with its status and one line.

    `unsure` is what to do where nobody knows whether the call was served.
    """
    address = ""
    try:
        address = target_of(service, target)
        with (
            open_channel(address, token=access_token, timeout_seconds=timeout_seconds) as channel,
            typed_errors(),
        ):
            yield channel
    except TrackOpsError as error:
        raise fail(*_explained(error, service, address, unsure)) from error
    except StackError as error:
        raise fail(REFUSED, str(error)) from error


def is_unreachable(error: TrackOpsError) -> bool:
    """Whether the call may be sent again: nobody answered, or had no time for it."""
    return error.code in _NO_ANSWER


def pages(call: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    """What a listing holds in `field`, page after page."""
    while True:
        page = call(request)
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def told(message: Message) -> dict[str, Any]:
    """A message in protobuf's JSON form, empty fields too, as a part of a document."""
    form: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return form


def print_json(document: Message | Mapping[str, Any]) -> None:
    """The one document of a command."""
    plain = told(document) if isinstance(document, Message) else document
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: T201 - no wrapping


def shown_time(message: Any, field: str = "") -> str:
    """A timestamp, or a message's field that is one, in UTC to the millisecond; empty if unset."""
    if field and not message.HasField(field):
        return ""
    stamp = getattr(message, field) if field else message
    moment: datetime = stamp if isinstance(stamp, datetime) else stamp.ToDatetime(tzinfo=UTC)
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def _explained(
    error: TrackOpsError, service: str, address: str, unsure: str
) -> tuple[int, str, list[str]]:
    violations = [f"{one.path}: {one.description}" for one in error.violations]
    if not is_unreachable(error):
        return REFUSED, str(error), violations
    option = target_variable(service)
    what_to_do = f"`trackops status` shows what runs, `trackops up` starts it; {option} names"
    advice = [tls_advice(address, str(error)), f"{what_to_do} another address", unsure]
    return UNREACHABLE, f"{service} at {address}: {error}", [one for one in advice if one]
