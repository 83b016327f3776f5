"""How other programs call TrackOps: channels for its stubs, and typed errors."""

from trackops_client.calls import AsyncTokenProvider, TokenProvider, TraceparentProvider
from trackops_client.channels import open_aio_channel, open_channel
from trackops_client.errors import FieldViolation, TrackOpsError, error_of, typed_errors
from trackops_client.watching import watch_order, watch_order_aio

__all__ = [
    "AsyncTokenProvider",
    "FieldViolation",
    "TokenProvider",
    "TraceparentProvider",
    "TrackOpsError",
    "error_of",
    "open_aio_channel",
    "open_channel",
    "typed_errors",
    "watch_order",
    "watch_order_aio",
]
