"""What every provider promises, and what the simulator does beyond that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trackops_common.errors import DependencyUnavailable
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.application.ports import (
    AuthorizationRequest,
    Authorized,
    Declined,
    PaymentProvider,
    Voided,
    VoidRequest,
)
from trackops_payment.domain.payment import PaymentTerms

from .payment_fakes import ObservedProvider


def request(key: str = "k", token: str = "tok_visa") -> AuthorizationRequest:
    return AuthorizationRequest(key, PaymentTerms(500, "EUR", token))


@pytest.fixture(params=[SimulatedProvider, ObservedProvider])
def provider(request: pytest.FixtureRequest) -> PaymentProvider:
    make: Callable[[], PaymentProvider] = request.param
    return make()


def test_answers_are_as_many_as_requests_and_in_their_order(provider: PaymentProvider) -> None:
    answers = provider.authorize([request("a"), request("b", "tok_declined"), request("c")])
    assert [type(answer) for answer in answers] == [Authorized, Declined, Authorized]
    assert answers[0] != answers[2]
    assert provider.authorize([]) == []


def test_the_same_key_gets_the_same_answer(provider: PaymentProvider) -> None:
    assert provider.authorize([request()]) == provider.authorize([request()])


def test_a_void_is_harmless_to_repeat_and_changes_no_answer(provider: PaymentProvider) -> None:
    answer = provider.authorize([request()])[0]
    assert isinstance(answer, Authorized)
    for _ in range(2):
        assert provider.void([VoidRequest("v", answer.authorization_id)]) == [Voided()]
    assert provider.authorize([request()]) == [answer]


def test_a_simulator_that_starts_again_answers_alike() -> None:
    requests = [request("a"), request("b", "tok_declined_7"), request("c")]
    assert SimulatedProvider().authorize(requests) == SimulatedProvider().authorize(requests)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_declined_42", "card_declined"),
        ("tok_expired_card", "expired_card"),
        ("tok_insufficient_funds-1", "insufficient_funds"),
    ],
)
def test_tokens_that_the_simulator_declines(token: str, code: str) -> None:
    assert SimulatedProvider().authorize([request(token=token)]) == [Declined(code)]


def test_a_token_for_which_the_simulator_is_away() -> None:
    answer = SimulatedProvider().authorize([request(token="tok_unavailable")])[0]
    assert isinstance(answer, DependencyUnavailable)
