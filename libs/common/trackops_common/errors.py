"""What can go wrong in any service, whatever its domain.

    ServiceError
    ├── RequestIdReused        the caller's mistake: same request_id, other body
    ├── RequestIdExpired       done too long ago: its response is not kept any more
    ├── MalformedRequest       the caller's mistake: bytes that are no message
    ├── PageTokenInvalid       the caller's mistake: an altered token, or that of another listing
    ├── Overloaded             a queue is full: come back in `retry_after_seconds`
    ├── Unauthenticated        nobody vouches for the caller
    │   ├── TokenMissing            …there is no access token
    │   ├── TokenInvalid            …it was never good
    │   └── TokenExpired            …it was, and is not any more
    ├── PermissionDenied       the caller is known, and may not do this
    ├── DeadlineExceeded       the caller stopped waiting before work began
    ├── TransientError         the same work may succeed if it is done again
    │   ├── DependencyUnavailable   …and was done again, in vain
    │   └── ServerStopping          …by another replica
    ├── BatchRefused           the database refused the data of a whole batch
    └── StartRefused           the service must not start, or go on, as things are
        └── BindError              …its address cannot be bound

The type decides what happens next: transient work is run again, a refused
batch is split until the command at fault stands alone, and the rest is told to
the caller. Errors of a domain are its own and do not derive from these.
"""

from __future__ import annotations

__all__ = [
    "BatchRefused",
    "BindError",
    "DeadlineExceeded",
    "DependencyUnavailable",
    "MalformedRequest",
    "Overloaded",
    "PageTokenInvalid",
    "PermissionDenied",
    "RequestIdExpired",
    "RequestIdReused",
    "ServerStopping",
    "ServiceError",
    "StartRefused",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "TransientError",
    "Unauthenticated",
]


class ServiceError(Exception):
    """Base of all errors that are not a domain's."""


class RequestIdReused(ServiceError):
    """A `request_id` came again with another body (AIP-155)."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request_id {request_id} was used before with another body")
        self.request_id = request_id


class RequestIdExpired(ServiceError):
    """A `request_id` was served so long ago that its response is not kept any more."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request_id {request_id} was served before; its response has expired")
        self.request_id = request_id


class MalformedRequest(ServiceError):
    """A request's bytes are not the message that the RPC takes, or a text in it is not UTF-8."""

    def __init__(self) -> None:
        super().__init__("the request is not the RPC's message in protobuf's wire form")


class PageTokenInvalid(ServiceError):
    """A page token was altered, or came with another filter or order than its own."""

    def __init__(self) -> None:
        super().__init__("page_token was altered, or belongs to another filter or order")


class Overloaded(ServiceError):
    """A bounded queue is full."""

    def __init__(self, *, retry_after_seconds: float) -> None:
        super().__init__("too many calls are waiting")
        self.retry_after_seconds = retry_after_seconds


class Unauthenticated(ServiceError):
    """Nobody vouches for the caller."""


class TokenMissing(Unauthenticated):
    """The call carries no access token."""

    def __init__(self) -> None:
        super().__init__("send an access token: `authorization: Bearer …`")


class TokenInvalid(Unauthenticated):
    """The call carries something that is no good access token; why is not for the caller."""

    def __init__(self) -> None:
        super().__init__("the access token is not good")


class TokenExpired(Unauthenticated):
    """The access token was good once."""

    def __init__(self) -> None:
        super().__init__("the access token has expired")


class PermissionDenied(ServiceError):
    """None of the caller's roles has `permission`, or not for what the call is about."""

    def __init__(self, permission: str) -> None:
        super().__init__(f"this needs permission {permission}")
        self.permission = permission


class DeadlineExceeded(ServiceError):
    """The caller's deadline passed before work was done for it."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the work began")


class TransientError(ServiceError):
    """A deadlock, a lost connection, a timeout: nothing was done, or it is safe to do it again."""


class DependencyUnavailable(TransientError):
    """A dependency stayed away for as long as we were willing to try."""

    def __init__(self, dependency: str) -> None:
        super().__init__(f"{dependency} is not available")
        self.dependency = dependency


class ServerStopping(TransientError):
    """This server ends what it has begun; another replica takes the call."""

    def __init__(self) -> None:
        super().__init__("the server is stopping")


class BatchRefused(ServiceError):
    """An integrity or data error: at least one command of the batch cannot be stored."""


class StartRefused(ServiceError):
    """The service must not start, or go on, as things are; the message says what to do."""


class BindError(StartRefused):
    """The address could not be bound."""

    def __init__(self, address: str) -> None:
        super().__init__(f"cannot listen on {address}: the port is taken or not allowed")
