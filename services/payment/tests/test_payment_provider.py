"""What every provider promises, and what the simulator does beyond that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from trackops_common.errors import DependencyUnavailable
from trackops_payment.adapters.https_provider import HttpsProvider, HttpsProviderOptions
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.adapters.simulator_books import Books, Entry
from trackops_payment.application.free_of_charge import FREE, FreeOfCharge
from trackops_payment.application.ports import (
    AuthorizationRequest,
    Authorized,
    Declined,
    Moved,
    MovementRequest,
    PaymentProvider,
    Voided,
    VoidRequest,
)
from trackops_payment.domain.payment import PaymentTerms
from trackops_payment.testing import API_KEY, ProviderServer

from .payment_fakes import ObservedProvider


def request(key: str = "k", token: str = "tok_visa", amount: int = 500) -> AuthorizationRequest:
    return AuthorizationRequest(key, PaymentTerms(amount, "EUR", token))


def authorized(provider: PaymentProvider, key: str = "k", token: str = "tok_visa") -> str:
    answer = provider.authorize([request(key, token)])[0]
    assert isinstance(answer, Authorized)
    return answer.authorization_id


def movement(key: str, authorization_id: str, amount: int = 200) -> MovementRequest:
    return MovementRequest(key, authorization_id, amount, "EUR")


@pytest.fixture(params=["simulator", "observed", "https"])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PaymentProvider]:
    if request.param == "simulator":
        yield SimulatedProvider(sleep=lambda _: None)
        return
    if request.param == "observed":
        yield ObservedProvider()
        return
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with closing(ProviderServer(authority.issue_cert("127.0.0.1"))) as server:
        options = HttpsProviderOptions(url=server.url, api_key=API_KEY, ca_file=tmp_path / "ca.pem")
        with closing(HttpsProvider(options)) as made:
            yield made


class TestEveryProvider:
    def test_answers_are_as_many_as_requests_and_in_their_order(
        self, provider: PaymentProvider
    ) -> None:
        answers = provider.authorize([request("a"), request("b", "tok_declined"), request("c")])
        assert [type(answer) for answer in answers] == [Authorized, Declined, Authorized]
        assert answers[0] != answers[2]
        assert provider.authorize([]) == []

    def test_the_same_key_gets_the_same_answer(self, provider: PaymentProvider) -> None:
        for token in ("tok_visa", "tok_declined"):
            first = provider.authorize([request(token, token)])
            assert provider.authorize([request(token, token)]) == first

    def test_a_void_is_harmless_to_repeat_and_changes_no_answer(
        self, provider: PaymentProvider
    ) -> None:
        authorization_id = authorized(provider)
        for _ in range(2):
            assert provider.void([VoidRequest("v", authorization_id)]) == [Voided()]
        assert provider.authorize([request()]) == [Authorized(authorization_id)]

    def test_captures_and_refunds_have_names_of_their_own(self, provider: PaymentProvider) -> None:
        authorization_id = authorized(provider)
        captured = provider.capture(
            [movement("c1", authorization_id), movement("c2", authorization_id)]
        )
        refunded = provider.refund([movement("r1", authorization_id, 100)])
        moved = [*captured, *refunded]
        assert {type(answer) for answer in moved} == {Moved}
        assert len(set(moved)) == 3
        assert provider.capture([movement("c1", authorization_id)]) == captured[:1]
        assert provider.refund([movement("r1", authorization_id, 100)]) == refunded

    @pytest.mark.parametrize("operation", ["capture", "refund"])
    def test_a_movement_may_be_declined(self, provider: PaymentProvider, operation: str) -> None:
        authorization_id = authorized(provider, token=f"tok_{operation}_insufficient_funds")
        move = getattr(provider, operation)
        for _ in range(2):
            assert move([movement("m", authorization_id)]) == [Declined("insufficient_funds")]

    def test_what_is_away_is_an_answer_and_no_exception(self, provider: PaymentProvider) -> None:
        answers = provider.authorize([request("a", "tok_unavailable"), request("b")])
        assert [type(answer) for answer in answers] == [DependencyUnavailable, Authorized]
        id_ = authorized(provider, "c", "tok_capture_unavailable_1")
        assert isinstance(provider.capture([movement("m", id_)])[0], DependencyUnavailable)
        assert provider.void([VoidRequest("v", id_)]) == [Voided()]

    @pytest.mark.parametrize("operation", ["authorize", "capture", "void", "refund"])
    def test_a_lost_answer_is_found_by_asking_again_with_the_same_key(
        self, provider: PaymentProvider, operation: str
    ) -> None:
        if operation == "authorize":
            lost, again = (provider.authorize([request("l", "tok_lost")])[0] for _ in range(2))
        else:
            id_ = authorized(provider, token=f"tok_{operation}_lost")
            ask = getattr(provider, operation)
            one = VoidRequest("l", id_) if operation == "void" else movement("l", id_)
            lost, again = (ask([one])[0] for _ in range(2))
        assert isinstance(lost, DependencyUnavailable)
        assert isinstance(again, Authorized | Moved | Voided)


class TestSimulator:
    def test_one_that_starts_again_answers_alike(self) -> None:
        requests = [request("a"), request("b", "tok_declined_7"), request("c", "tok_refund_slow")]
        first, second = SimulatedProvider(), SimulatedProvider()
        answers = first.authorize(requests)
        assert answers == second.authorize(requests)
        held = answers[0]
        assert isinstance(held, Authorized)
        moves = [movement("m", held.authorization_id)]
        assert first.capture(moves) == second.capture(moves)

    @pytest.mark.parametrize(
        ("token", "code"),
        [
            ("tok_declined_42", "card_declined"),
            ("tok_expired_card", "expired_card"),
            ("tok_insufficient_funds-1", "insufficient_funds"),
        ],
    )
    def test_tokens_that_it_declines(self, token: str, code: str) -> None:
        assert SimulatedProvider().authorize([request(token=token)]) == [Declined(code)]

    def test_slow_ones_delay_their_set_once(self) -> None:
        delays: list[float] = []
        simulator = SimulatedProvider(delay_seconds=3, sleep=delays.append)
        slow = [request(key, "tok_slow") for key in ("a", "b")]
        assert {type(one) for one in simulator.authorize([*slow, request("c")])} == {Authorized}
        assert delays == [3]
        held = authorized(simulator, "d", "tok_capture_slow")
        assert delays == [3]
        simulator.capture([movement("m", held)])
        assert delays == [3, 3]

    def test_a_timeout_is_a_delay_and_nothing_done(self) -> None:
        delays: list[float] = []
        simulator = SimulatedProvider(delay_seconds=3, sleep=delays.append)
        answer = simulator.authorize([request(token="tok_timeout")])[0]
        assert isinstance(answer, DependencyUnavailable)
        assert delays == [3]
        assert simulator.books.entries == []

    def test_its_books_have_what_was_done_once(self) -> None:
        simulator = SimulatedProvider()
        held = authorized(simulator)
        authorized(simulator, "other")
        for _ in range(2):
            simulator.capture([movement("c", held, 300)])
            simulator.refund([movement("r", held, 100)])
            simulator.void([VoidRequest("v", held)])
            simulator.authorize([request("d", "tok_declined")])
        books = simulator.books
        assert (books.moved("authorize"), books.moved("authorize", held)) == (1000, 500)
        assert (books.moved("capture", held), books.moved("refund", held)) == (300, 100)
        assert len(books.done("void", held)) == 1
        assert len(books.entries) == 6

    def test_its_books_forget_the_oldest(self) -> None:
        books = Books(limit=2)
        for key in ("a", "b", "c"):
            books.once(key, Entry("authorize", key, 1))
        assert [entry.authorization_id for entry in books.entries] == ["b", "c"]


def test_nobody_is_asked_for_nothing() -> None:
    observed = ObservedProvider()
    provider = FreeOfCharge(observed)
    free = provider.authorize([request(amount=0, token="tok_declined")])
    assert free == [Authorized(FREE)]
    assert provider.capture([movement("c", "auth_1", 0)]) == [Moved(FREE)]
    assert provider.refund([movement("r", "auth_1", 0)]) == [Moved(FREE)]
    assert provider.void([VoidRequest("v", FREE)]) == [Voided()]
    assert observed.calls == 0
    mixed = provider.authorize([request("a", amount=0), request("b"), request("c", amount=0)])
    assert [answer == Authorized(FREE) for answer in mixed] == [True, False, True]
    assert observed.calls == 1
