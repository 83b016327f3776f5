"""Which passwords are good enough (NIST SP 800-63B-4, section 3.1.1)."""

from __future__ import annotations

import unicodedata
from collections.abc import Container
from dataclasses import dataclass

from trackops_identity.domain.errors import PasswordRefused

__all__ = ["PasswordPolicy", "normalised"]

_MAX_LENGTH = 256


def normalised(password: str) -> str:
    """The form in which a password is hashed: keyboards differ in how they compose letters."""
    return unicodedata.normalize("NFC", password)


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """Long enough, and none that guessers try first; no rules about kinds of characters."""

    common: Container[str]
    """The most frequent passwords, in lower case."""
    min_length: int = 15
    """Characters; the source asks for 15 where nothing else proves who somebody is."""

    def check(self, password: str, *, email: str) -> None:
        """Pass a password for the account of `email`.

        Raises:
            PasswordRefused: it would be guessed too soon, or is longer than 256 characters.
        """
        if len(password) < self.min_length:
            raise PasswordRefused(f"has fewer than {self.min_length} characters")
        if len(password) > _MAX_LENGTH:
            raise PasswordRefused(f"has more than {_MAX_LENGTH} characters")
        folded = password.casefold()
        if folded in self.common or _is_repetition(folded):
            raise PasswordRefused("is among those that are tried first")
        if _core(folded) in {_core(email), _core(email.partition("@")[0])}:
            raise PasswordRefused("is the address with little around it")


def _is_repetition(text: str) -> bool:
    """Whether a few characters make all of `text` when repeated, such as "abcabcabcabcabc"."""
    return text in (text + text)[1:-1] and len(text) >= 3 * (text + text).index(text, 1)


def _core(text: str) -> str:
    """What is left without the digits and signs at both ends."""
    folded = text.casefold()
    return folded.strip("0123456789!?.,-_*#$ ") or folded
