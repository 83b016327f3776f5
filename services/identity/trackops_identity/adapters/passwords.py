"""Argon2id, and the passwords that everybody else has."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

__all__ = ["Argon2Hasher", "common_passwords"]


class Argon2Hasher:
    """A `PasswordHasher`. The defaults are the second choice of RFC 9106, section 4."""

    def __init__(
        self, *, time_cost: int = 3, memory_kibibytes: int = 65_536, parallelism: int = 4
    ) -> None:
        """Each hash takes `memory_kibibytes` while it is made."""
        self._argon2 = Argon2(
            time_cost=time_cost, memory_cost=memory_kibibytes, parallelism=parallelism
        )
        self._of_nobody = self._argon2.hash("the password of nobody")

    def hash(self, password: str) -> str:
        return self._argon2.hash(password)

    def fits(self, password: str, password_hash: str) -> bool:
        try:
            matches = self._argon2.verify(password_hash or self._of_nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return matches and bool(password_hash)

    def is_outdated(self, password_hash: str) -> bool:
        return self._argon2.check_needs_rehash(password_hash)


@cache
def common_passwords() -> frozenset[str]:
    """The 30,000 most frequent ones, in lower case, as the zxcvbn package lists them.

    Only that list is kept: the package itself makes tables of 7 MiB on being imported.
    """
    package = find_spec("zxcvbn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("zxcvbn")
    lists = spec_from_file_location("frequency_lists", Path(package.origin).with_name(_LISTS))
    if lists is None or lists.loader is None:
        raise ModuleNotFoundError(_LISTS)
    module = module_from_spec(lists)
    lists.loader.exec_module(module)
    return frozenset(module.FREQUENCY_LISTS["passwords"])


_LISTS = "frequency_lists.py"
