"""What Envoy answers by itself, and the headers of every answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

__all__ = ["ACCESS_LOG", "DOCS_POLICY", "SECURITY_HEADERS", "header", "local_replies"]

Json = dict[str, Any]

SECURITY_HEADERS: Mapping[str, str] = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

DOCS_POLICY = (
    "default-src 'none'; style-src '{style}'; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'none'"
)
"""Content-Security-Policy of the page, which has its one style sheet inside."""

ACCESS_LOG: Mapping[str, str] = {
    "event": "request",
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
    # As the caller sent it and without the query, which may tell more than a log should.
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "user_agent": "%REQ(USER-AGENT)%",
    "service": "%UPSTREAM_CLUSTER%",
    "protocol": "%PROTOCOL%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
}

_OVERLOADED = "OVERLOADED"
_DETAIL = "%LOCAL_REPLY_BODY%"

# Status, title, reason (of ErrorReason, or none) and detail.
_PROBLEMS: Sequence[tuple[int, str, str, str]] = (
    (400, "Bad Request", "", _DETAIL),
    (403, "Forbidden", "", _DETAIL),
    (404, "Not Found", "", "there is nothing at this path"),
    (405, "Method Not Allowed", "", _DETAIL),
    (408, "Request Timeout", "", "the request took too long to arrive"),
    (413, "Content Too Large", "", "the body is larger than the edge takes"),
    (415, "Unsupported Media Type", "", _DETAIL),
    (426, "Upgrade Required", "", "the edge speaks HTTP/1.1 and HTTP/2"),
    (429, "Overloaded", _OVERLOADED, "too many requests; try again after `retry-after` seconds"),
    (431, "Request Header Fields Too Large", "", "the headers are larger than the edge takes"),
    (500, "Internal Server Error", "", "internal error; the edge's log has it"),
    (502, "Bad Gateway", "", "the service behind the edge was not understood"),
    (503, "Service Unavailable", "", "the service behind the edge is away; try again"),
    (504, "Gateway Timeout", "", "the service behind the edge did not answer in time"),
)

# More calls at a time than the cluster may have.
_OVERFLOW: Json = {"response_flag_filter": {"flags": ["UO"]}}
_OVERFLOW_DETAIL = "as many orders as can be are in the making; try again"
_RETRY_SECONDS = 1

_REFUSED = "jwt_authn_access_denied"

# By what Envoy notes down of a refused token. It would answer 403 for the wrong audience.
_TOKENS: Sequence[tuple[str, str, str, str]] = (
    ("Jwt_is_missing", "Token missing", "TOKEN_MISSING", "send `authorization: Bearer …`"),
    ("Jwt_is_expired", "Token expired", "TOKEN_EXPIRED", "the access token has expired; renew it"),
    (_REFUSED, "Token invalid", "TOKEN_INVALID", "the access token is not good"),
)

# Calls that came as gRPC; those that were transcoded have the path by which they came.
_GRPC = {
    "and_filter": {
        "filters": [
            {"header_filter": {"header": header}}
            for header in (
                {"name": "content-type", "string_match": {"prefix": "application/grpc"}},
                {"name": "x-envoy-original-path", "present_match": False},
            )
        ]
    }
}


def header(name: str, value: str) -> Json:
    """A header in the place of any of that name."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def local_replies() -> Json:
    """Problem details (RFC 9457) for what Envoy answers itself.

    Calls that came as gRPC or gRPC-Web get a gRPC status.
    """
    tokens = [
        _mapper(_noted(note), 401, title, reason, detail) for note, title, reason, detail in _TOKENS
    ]
    overflow = _mapper(_OVERFLOW, 429, "Overloaded", _OVERLOADED, _OVERFLOW_DETAIL)
    overflow["headers_to_add"] = [header("retry-after", str(_RETRY_SECONDS))]
    statuses = [_mapper(_status(problem[0]), *problem) for problem in _PROBLEMS]
    return {"mappers": [*_of_grpc(), *tokens, overflow, *statuses]}


def _of_grpc() -> Sequence[Json]:
    """The texts as Envoy has them, and four statuses that say more than those of Envoy.

    What took too long is DEADLINE_EXCEEDED; a refused token UNAUTHENTICATED, whatever is wrong; a
    body that is too large RESOURCE_EXHAUSTED, as gRPC's own limit has it; a call too many as well,
    with the time after which to come again.
    """
    body = {"body_format_override": {"text_format_source": {"inline_string": _DETAIL}}}
    late = {"response_flag_filter": {"flags": ["UT", "SI", "DT"]}}
    large = _status(413)
    return [
        {"filter": _all(_GRPC, late), "headers_to_add": [header("grpc-status", "4")], **body},
        {"filter": _all(_GRPC, _noted(_REFUSED)), "status_code": 401, **body},
        {
            "filter": _all(_GRPC, large),
            "headers_to_add": [header("grpc-status", "8")],
            **body,
        },
        {
            "filter": _all(_GRPC, _OVERFLOW),
            "headers_to_add": [
                header("grpc-status", str(code_pb2.RESOURCE_EXHAUSTED)),
                header("grpc-status-details-bin", _overflow_details()),
            ],
            **body,
        },
        {"filter": _GRPC, **body},
    ]


def _overflow_details() -> str:
    """What the order service says of itself when it is full, as metadata."""
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=_OVERFLOW_DETAIL)
    info = error_details_pb2.ErrorInfo(reason=_OVERLOADED, domain="trackops")
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=_RETRY_SECONDS))
    for detail in (info, retry):
        status.details.add().Pack(detail)
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")


def _mapper(condition: Json, status: int, title: str, reason: str, detail: str) -> Json:
    body: Json = {
        "type": f"/docs#{reason}" if reason else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if reason:
        body["reason"] = reason
    return {
        "filter": condition,
        "status_code": status,
        "body_format_override": {
            "json_format": body,
            "content_type": "application/problem+json",
        },
    }


def _all(*conditions: Json) -> Json:
    return {"and_filter": {"filters": list(conditions)}}


def _status(status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"edge.local_reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _noted(note: str) -> Json:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3"
                ".ExpressionFilter",
                "expression": f"response.code_details.contains('{note}')",
            },
        }
    }
