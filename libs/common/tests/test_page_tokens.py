from __future__ import annotations

import pytest

from trackops_common.errors import PageTokenInvalid
from trackops_common.page_tokens import PageTokens

TOKENS = PageTokens(b"k" * 32)


@pytest.mark.parametrize("place", [b"", b"p", bytes(range(256))])
def test_what_was_sealed_is_opened(place: bytes) -> None:
    assert TOKENS.open(TOKENS.seal(place, listing=b"l"), listing=b"l") == place


def test_every_altered_token_is_refused() -> None:
    token = TOKENS.seal(b"a place", listing=b"l")

    for index, letter in enumerate(token):
        for other in {"A", "B", "z", "-", "=", "é", "\n", ""} - {letter}:
            with pytest.raises(PageTokenInvalid):
                TOKENS.open(token[:index] + other + token[index + 1 :], listing=b"l")


@pytest.mark.parametrize("token", ["", "x", "====", "not base 64", "漢", "A" * 200])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        TOKENS.open(token, listing=b"l")


def test_a_token_of_another_listing_or_key_is_refused() -> None:
    token = TOKENS.seal(b"place", listing=b"one")

    with pytest.raises(PageTokenInvalid):
        TOKENS.open(token, listing=b"other")
    with pytest.raises(PageTokenInvalid):
        PageTokens(b"other" * 8).open(token, listing=b"one")


def test_listing_and_place_do_not_run_into_each_other() -> None:
    assert TOKENS.seal(b"bc", listing=b"a")[:20] != TOKENS.seal(b"c", listing=b"ab")[:20]


def test_the_key_is_not_shown() -> None:
    assert "kkk" not in repr(TOKENS)
