"""The provider over HTTPS: whom it trusts, how long it waits, and what it makes of answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from trackops_cli.testing import wait_for
from trackops_common.circuit_breaker import CircuitOpen, CircuitState
from trackops_common.errors import DependencyUnavailable, StartRefused
from trackops_payment.adapters.https_provider import HttpsProvider, HttpsProviderOptions
from trackops_payment.application.ports import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Authorized,
    Declined,
    Moved,
    MovementRequest,
    VoidRequest,
)
from trackops_payment.domain.payment import PaymentTerms
from trackops_payment.testing import API_KEY, Answer, ProviderServer

MakeProvider = Callable[..., HttpsProvider]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(authority: trustme.CA, stack: ExitStack) -> ProviderServer:
    return stack.enter_context(closing(ProviderServer(authority.issue_cert("127.0.0.1"))))


@pytest.fixture
def make(ca_file: Path, stack: ExitStack) -> MakeProvider:
    """A provider that trusts the test's authority, on options of the test."""

    def make(server: ProviderServer, **options: Any) -> HttpsProvider:
        known: dict[str, Any] = {"url": server.url, "api_key": API_KEY, "ca_file": ca_file}
        return stack.enter_context(closing(HttpsProvider(HttpsProviderOptions(**known | options))))

    return make


def request(key: str = "k") -> AuthorizationRequest:
    return AuthorizationRequest(key, PaymentTerms(500, "EUR", "tok_visa"))


def ask(provider: HttpsProvider, key: str = "k") -> AuthorizationAnswer:
    return provider.authorize([request(key)])[0]


def is_unknown(answer: object) -> bool:
    """Whether it was sent, or tried to be, and nobody knows what came of it."""
    return isinstance(answer, DependencyUnavailable) and not isinstance(answer, CircuitOpen)


def test_requests_are_as_documented(server: ProviderServer, make: MakeProvider) -> None:
    provider = make(server, url=f"{server.url}/")
    answer = ask(provider, "a-1")
    assert isinstance(answer, Authorized)
    id_ = answer.authorization_id
    moved = provider.capture([MovementRequest("c-1", id_, 300, "EUR")])
    moved = [*moved, *provider.refund([MovementRequest("r-1", id_, 100, "EUR")])]
    provider.void([VoidRequest("v-1", id_)])
    assert {type(one) for one in moved} == {Moved}
    assert [(path, headers["idempotency-key"], body) for path, headers, body in server.seen] == [
        (
            "/v1/authorizations",
            "a-1",
            {"amount_minor": 500, "currency_code": "EUR", "payment_method_token": "tok_visa"},
        ),
        (
            f"/v1/authorizations/{id_}/captures",
            "c-1",
            {"amount_minor": 300, "currency_code": "EUR"},
        ),
        (
            f"/v1/authorizations/{id_}/refunds",
            "r-1",
            {"amount_minor": 100, "currency_code": "EUR"},
        ),
        (f"/v1/authorizations/{id_}/void", "v-1", {}),
    ]
    for _, headers, _ in server.seen:
        assert headers["authorization"] == f"Bearer {API_KEY}"
        assert headers["content-type"] == headers["accept"] == "application/json"
    assert server.connections == 1


class TestTrust:
    """A certificate that does not verify gets no request, whatever is wrong with it."""

    def test_one_for_another_host_is_refused(
        self, authority: trustme.CA, make: MakeProvider, stack: ExitStack
    ) -> None:
        other = authority.issue_cert("provider.example")
        self._is_refused(stack.enter_context(closing(ProviderServer(other))), make, "mismatch")

    def test_one_of_an_unknown_authority_is_refused(
        self, make: MakeProvider, stack: ExitStack
    ) -> None:
        stranger = trustme.CA().issue_cert("127.0.0.1")
        self._is_refused(stack.enter_context(closing(ProviderServer(stranger))), make, "issuer")

    def test_without_a_file_a_private_authority_is_unknown(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        self._is_refused(server, make, "issuer", ca_file=None)

    def test_one_that_expired_is_refused(
        self, authority: trustme.CA, make: MakeProvider, stack: ExitStack
    ) -> None:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        old = authority.issue_cert("127.0.0.1", not_after=yesterday)
        self._is_refused(stack.enter_context(closing(ProviderServer(old))), make, "expired")

    @staticmethod
    def _is_refused(
        server: ProviderServer, make: MakeProvider, why: str, **options: object
    ) -> None:
        with capture_logs() as logs:
            assert is_unknown(ask(make(server, **options)))
        assert [why in line["error"] for line in logs] == [True], logs
        assert server.seen == []

    def test_authorities_that_cannot_be_read_refuse_the_start(self, tmp_path: Path) -> None:
        nothing = tmp_path / "nothing.pem"
        nothing.write_text("nothing")
        with pytest.raises(StartRefused, match="TRACKOPS_PAYMENT_PROVIDER_CA_FILE"):
            HttpsProvider(HttpsProviderOptions(url="https://x", api_key="k", ca_file=nothing))


class TestTime:
    def test_an_answer_that_does_not_come_is_given_up(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        provider = make(server, read_timeout_seconds=0.1)
        with server.holding_answers():
            assert is_unknown(ask(provider))
        assert isinstance(ask(provider), Authorized)
        assert len(server.books.done("authorize")) == 1

    def test_one_that_comes_byte_by_byte_has_its_total_time_only(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        server.answers_with = Answer(201, {"authorization_id": "a" * 100}, drip_seconds=0.1)
        provider = make(server, read_timeout_seconds=60, total_timeout_seconds=0.3)
        assert is_unknown(ask(provider))

    def test_a_lost_answer_is_asked_for_again_and_charged_once(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        provider = make(server)
        id_ = self._hold(provider)
        capture = [MovementRequest("capture-1", id_, 300, "EUR")]
        server.drops_answers = True
        assert is_unknown(provider.capture(capture)[0])
        assert server.books.moved("capture") == 300
        server.drops_answers = False
        assert isinstance(provider.capture(capture)[0], Moved)
        assert server.books.moved("capture") == 300
        assert len(server.seen) == 3

    def test_a_provider_that_is_not_there_is_unavailable(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        provider = make(server)
        server.close()
        assert is_unknown(ask(provider))

    @staticmethod
    def _hold(provider: HttpsProvider) -> str:
        answer = ask(provider)
        assert isinstance(answer, Authorized)
        return answer.authorization_id


class TestAnswers:
    @pytest.mark.parametrize(
        "status", [204, 302, 400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 503]
    )
    def test_any_other_status_leaves_the_outcome_unknown(
        self, server: ProviderServer, make: MakeProvider, status: int
    ) -> None:
        server.answers_with = Answer(status, {"error": {"code": "card_declined"}})
        assert is_unknown(ask(make(server)))
        assert len(server.seen) == 1

    @pytest.mark.parametrize("status", [201, 402])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"secret-of-a-customer",
            b"\xff",
            [],
            {},
            {"authorization_id": 7, "error": "secret-of-a-customer"},
            {"authorization_id": "", "error": {"code": ""}},
            {"authorization_id": "a/../b", "error": {"code": "Card Declined"}},
            {"authorization_id": "a" * 129, "error": {"code": "a" * 65}},
        ],
        ids=repr,
    )
    def test_a_body_of_another_shape_is_unknown_and_not_logged(
        self, server: ProviderServer, make: MakeProvider, status: int, body: object
    ) -> None:
        server.answers_with = Answer(status, body)
        with capture_logs() as logs:
            assert is_unknown(ask(make(server)))
        assert logs[0]["log_level"] == "error"
        assert "secret-of-a-customer" not in repr(logs)

    def test_a_decline_is_handed_on_with_its_code(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        server.answers_with = Answer(402, {"error": {"code": "stolen_card"}, "more": 1})
        provider = make(server)
        assert ask(provider) == Declined("stolen_card")
        assert is_unknown(provider.void([VoidRequest("v", "auth_1")])[0])

    def test_the_key_is_never_shown(
        self, server: ProviderServer, make: MakeProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with capture_logs() as logs:
            provider = make(server)
            ask(provider)
            server.answers_with = Answer(401)
            ask(provider, "l")
        shown = f"{logs}{caplog.text}{HttpsProviderOptions(url=server.url, api_key=API_KEY)!r}"
        assert "refuses what it is asked" in shown
        assert API_KEY not in shown


class TestBounds:
    def test_few_are_asked_at_once(self, server: ProviderServer, make: MakeProvider) -> None:
        provider = make(server, concurrency=3)
        with ThreadPoolExecutor(1) as threads:
            with server.holding_answers():
                answers = threads.submit(provider.authorize, [request(f"{n}") for n in range(20)])
                wait_for(lambda: len(server.seen) == 3, what="as many requests as may be")
            assert {type(one) for one in answers.result(timeout=30)} == {Authorized}
        assert server.most_at_once == 3
        assert server.connections == 3

    def test_one_that_finds_no_place_in_time_is_not_sent(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        provider = make(server, concurrency=1, total_timeout_seconds=0.3, breaker_failures=3)
        with server.holding_answers():
            answers = provider.authorize([request(f"{n}") for n in range(6)])
        assert all(map(is_unknown, answers))
        assert len(server.seen) < 3
        assert provider.circuit is CircuitState.CLOSED


class TestCircuit:
    """It opens after 3 in a row, for 5 s."""

    def test_an_ailing_provider_is_left_alone_and_then_tried(
        self, server: ProviderServer, ca_file: Path, stack: ExitStack
    ) -> None:
        seconds = [0.0]
        options = HttpsProviderOptions(
            url=server.url, api_key=API_KEY, ca_file=ca_file, breaker_failures=3
        )
        provider = stack.enter_context(closing(HttpsProvider(options, clock=lambda: seconds[0])))
        server.answers_with = Answer(503)
        with capture_logs() as logs:
            assert [is_unknown(ask(provider)) for _ in range(5)] == [True] * 3 + [False] * 2
            seconds[0] = 5
            assert [is_unknown(ask(provider)) for _ in range(2)] == [True, False]
            assert len(server.seen) == 4
            server.answers_with = None
            seconds[0] = 9.9
            assert isinstance(ask(provider), CircuitOpen)
            seconds[0] = 10
            answers = provider.authorize([request("a"), request("b")])
            assert [type(one) for one in answers] == [Authorized, CircuitOpen]
            assert isinstance(ask(provider), Authorized)
        states = [line["state"] for line in logs if "circuit" in line["event"]]
        assert states == ["OPEN", "HALF_OPEN", "OPEN", "HALF_OPEN", "CLOSED"]

    def test_the_rest_of_a_set_is_not_sent_once_it_is_open(
        self, server: ProviderServer, make: MakeProvider
    ) -> None:
        provider = make(server, breaker_failures=3, concurrency=1)
        server.drops_answers = True
        answers = provider.authorize([request(f"{n}") for n in range(10)])
        assert [isinstance(answer, CircuitOpen) for answer in answers] == [False] * 3 + [True] * 7
        assert len(server.seen) == 3

    @pytest.mark.parametrize("status", [400, 401, 402, 404, 409])
    def test_a_provider_that_refuses_is_not_ailing(
        self, server: ProviderServer, make: MakeProvider, status: int
    ) -> None:
        provider = make(server, breaker_failures=3)
        server.answers_with = Answer(status, {"error": {"code": "card_declined"}})
        for _ in range(5):
            ask(provider)
        assert len(server.seen) == 5
        assert provider.circuit is CircuitState.CLOSED
