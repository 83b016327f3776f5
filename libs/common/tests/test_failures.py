from __future__ import annotations

import grpc
import pytest
from structlog.testing import capture_logs
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common import errors
from trackops_common.grpc.failures import Failure, describe, failure_of
from trackops_common.testing import ErrorDetails

FAILURES = {
    errors.RequestIdReused("some-id"): ErrorDetails(
        grpc.StatusCode.INVALID_ARGUMENT,
        "request_id some-id was used before with another body",
        "REQUEST_ID_REUSED",
        {"request_id": "some-id"},
        {},
        None,
    ),
    errors.RequestIdExpired("some-id"): ErrorDetails(
        grpc.StatusCode.ALREADY_EXISTS,
        "request_id some-id was served before; its response has expired",
        "REQUEST_ID_EXPIRED",
        {"request_id": "some-id"},
        {},
        None,
    ),
    errors.Overloaded(retry_after_seconds=0.25): ErrorDetails(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "too many calls are waiting",
        "OVERLOADED",
        {},
        {},
        0.25,
    ),
    errors.MalformedRequest(): ErrorDetails(
        grpc.StatusCode.INVALID_ARGUMENT,
        "the request is not the RPC's message in protobuf's wire form",
        "MALFORMED_REQUEST",
        {},
        {},
        None,
    ),
    errors.PageTokenInvalid(): ErrorDetails(
        grpc.StatusCode.INVALID_ARGUMENT,
        "page_token was altered, or belongs to another filter or order",
        "PAGE_TOKEN_INVALID",
        {},
        {},
        None,
    ),
    errors.DeadlineExceeded(): ErrorDetails(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "the deadline passed before the work began",
        "DEADLINE_EXCEEDED",
        {},
        {},
        None,
    ),
    errors.TokenMissing(): ErrorDetails(
        grpc.StatusCode.UNAUTHENTICATED,
        "send an access token: `authorization: Bearer …`",
        "TOKEN_MISSING",
        {},
        {},
        None,
    ),
    errors.TokenInvalid(): ErrorDetails(
        grpc.StatusCode.UNAUTHENTICATED,
        "the access token is not good",
        "TOKEN_INVALID",
        {},
        {},
        None,
    ),
    errors.TokenExpired(): ErrorDetails(
        grpc.StatusCode.UNAUTHENTICATED,
        "the access token has expired",
        "TOKEN_EXPIRED",
        {},
        {},
        None,
    ),
    errors.PermissionDenied("sagas.operate"): ErrorDetails(
        grpc.StatusCode.PERMISSION_DENIED,
        "this needs permission sagas.operate",
        "PERMISSION_DENIED",
        {"permission": "sagas.operate"},
        {},
        None,
    ),
    errors.TransientError("FATAL: password of role x"): ErrorDetails(
        grpc.StatusCode.UNAVAILABLE, "try again", "DEPENDENCY_UNAVAILABLE", {}, {}, None
    ),
    errors.DependencyUnavailable("the database"): ErrorDetails(
        grpc.StatusCode.UNAVAILABLE,
        "the database is not available",
        "DEPENDENCY_UNAVAILABLE",
        {},
        {},
        None,
    ),
    errors.ServerStopping(): ErrorDetails(
        grpc.StatusCode.UNAVAILABLE,
        "the server is stopping",
        "DEPENDENCY_UNAVAILABLE",
        {},
        {},
        None,
    ),
    errors.BatchRefused('value "4111" violates'): ErrorDetails(
        grpc.StatusCode.INTERNAL,
        "internal error; the server's log has it",
        "INTERNAL",
        {},
        {},
        None,
    ),
    KeyError("a defect"): ErrorDetails(
        grpc.StatusCode.INTERNAL,
        "internal error; the server's log has it",
        "INTERNAL",
        {},
        {},
        None,
    ),
}


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_an_error_looks_the_same_to_every_caller(error: Exception) -> None:
    assert ErrorDetails.of_status(failure_of(error).to_status()) == FAILURES[error]


def test_no_error_that_a_caller_may_meet_is_left_out() -> None:
    declared = {getattr(errors, name) for name in errors.__all__}
    never_sent = {
        errors.ServiceError,
        errors.StartRefused,
        errors.BindError,
        errors.Unauthenticated,
    }

    assert declared - never_sent <= {type(error) for error in FAILURES}


def test_an_internal_error_is_in_the_log_with_its_cause() -> None:
    defect = KeyError("a defect")

    with capture_logs() as logs:
        failure_of(defect)

    assert [(line["log_level"], line["exc_info"]) for line in logs] == [("error", defect)]


def test_an_error_that_callers_are_to_expect_is_not_logged() -> None:
    with capture_logs() as logs:
        for error in FAILURES:
            if failure_of(error).code is not grpc.StatusCode.INTERNAL:
                logs.clear()
                failure_of(error)
                assert logs == []


def test_the_domain_is_asked_first() -> None:
    mine = Failure(grpc.StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_ORDER_NOT_FOUND, "gone")

    assert describe(errors.DeadlineExceeded(), lambda _: mine) is mine
    assert describe(errors.DeadlineExceeded(), lambda _: None).code is (
        grpc.StatusCode.DEADLINE_EXCEEDED
    )


def test_wrong_fields_travel_in_a_bad_request() -> None:
    failure = Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        "wrong",
        violations=[("a", "too short"), ("b[1].c", "too long")],
    )

    details = ErrorDetails.of_status(failure.to_status())

    assert details.violations == {"a": "too short", "b[1].c": "too long"}
