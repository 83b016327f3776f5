"""The token that the command's calls carry: whose it is, where it is kept, when it is renewed.

Tokens lie in one file, readable by its owner only: beside the local stack's
passwords where there is a local stack, else in the user's state folder. A
refresh token is good once and its reuse ends the session, so whoever renews
holds a lock on the file, reads it again, and writes before letting go.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc
from trackops.identity.v1 import identity_service_pb2 as pb
from trackops.identity.v1.identity_pb2 import Tokens
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from trackops_cli.local.errors import IdentityRefused, NotLoggedIn
from trackops_cli.local.home import Home, write_private
from trackops_cli.local.mesh import DEVELOPMENT_SECRET
from trackops_cli.targets import local_target_of, target_of
from trackops_client import TrackOpsError, open_channel, typed_errors

__all__ = ["Credentials", "access_token", "of_environment"]

_SECONDS = 10.0
_LATER_SECONDS = 5.0
"""After a renewal that nobody answered, while the token at hand is still good."""
_RENEW_AFTER = 0.5
"""The part of a token's life after which it is renewed."""
_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_SESSION = ""
_DEFAULT_ROLE = "admin"


@dataclass(frozen=True, slots=True)
class _Held:
    """A token, with times in seconds since 1970 by this machine's clock."""

    access_token: str = field(repr=False)
    renew_time: float
    expire_time: float
    refresh_token: str = field(default="", repr=False)
    """Empty for those of clients."""


class Credentials:
    """Tokens of one identity service; any number of processes and threads may share `store`."""

    def __init__(
        self,
        store: Path,
        target: str,
        *,
        development_secret: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`development_secret` is that of the target's development clients, empty elsewhere."""
        self._store = store
        self._target = target
        self._development_secret = development_secret
        self._now = now
        self._at_hand: dict[str, _Held] = {}

    @classmethod
    def of_stack(cls, home: Home, target: str) -> Credentials:
        """Those of the local stack in `home`, whose identity service is at `target`."""
        secret = home.known_password(DEVELOPMENT_SECRET)
        return cls(home.credentials_file, target, development_secret=secret)

    def access_token(self, role: str = "") -> str:
        """A token that is good for a while: the session's, or else a development administrator's.

        Args:
            role: the development client of this role instead, such as "support".

        Raises:
            NotLoggedIn: there is no session, or it has ended; or there are no development clients.
            IdentityRefused: there was no token at hand, and none was to be had.
        """
        held = self._at_hand.get(role)
        if held is None or self._now() >= held.renew_time:
            held = self._at_hand[role] = self._fresh(role or self._default_kind())
        return held.access_token

    def login(self, email: str, password: str, new_password: str = "") -> None:
        """Start a session, and end the one before it; change the password if there is a new one.

        Raises:
            IdentityRefused: the credentials are wrong, a new password is wanted (reason
                PASSWORD_MUST_CHANGE) or refused, or nobody answered.
        """
        device = f"trackops on {platform.node()}"[:128]
        request = pb.LoginRequest(
            email=email, password=password, device=device, new_password=new_password
        )
        with self._calling() as identity:
            answer = identity.Login(request)
        with self._alone() as entries:
            before = entries.get(_SESSION)
            self._at_hand.clear()
            self._keep(entries, _SESSION, answer.tokens)
        if before is not None:
            self._end(before)

    def logout(self) -> bool:
        """End the session; False where there was none.

        Raises:
            IdentityRefused: nobody answered; the session goes on, and its tokens are kept.
        """
        with self._alone() as entries:
            held = entries.get(_SESSION)
            if held is not None:
                self._end(held)
                self._forget(entries)
        return held is not None

    def _default_kind(self) -> str:
        if not self._development_secret or _SESSION in self._read():
            return _SESSION
        return _DEFAULT_ROLE

    def _fresh(self, kind: str) -> _Held:
        held = self._read().get(kind)
        if held is not None and self._now() < held.renew_time:
            return held
        with self._alone() as entries:
            held = entries.get(kind)
            if held is not None and self._now() < held.renew_time:
                return held
            try:
                return self._keep(entries, kind, self._renewed(entries, kind))
            except IdentityRefused as error:
                if held is None or not error.no_answer or self._now() >= held.expire_time:
                    raise
                return replace(held, renew_time=self._now() + _LATER_SECONDS)

    def _renewed(self, entries: dict[str, _Held], kind: str) -> Tokens:
        if kind != _SESSION:
            return self._of_client(kind)
        if _SESSION not in entries:
            raise NotLoggedIn("nobody is logged in")
        request = pb.RefreshTokensRequest(refresh_token=entries[_SESSION].refresh_token)
        try:
            with self._calling() as identity:
                tokens: Tokens = identity.RefreshTokens(request).tokens
        except IdentityRefused as error:
            if error.reason != "TOKEN_INVALID":
                raise
            self._forget(entries)
            raise NotLoggedIn("the session has ended") from error
        return tokens

    def _of_client(self, role: str) -> Tokens:
        if not self._development_secret:
            raise NotLoggedIn(f"{self._target} is no development mesh of this machine")
        request = pb.IssueServiceTokenRequest(
            client_id=f"development-{role}", client_secret=self._development_secret
        )
        with self._calling() as identity:
            tokens: Tokens = identity.IssueServiceToken(request).tokens
        return tokens

    def _end(self, held: _Held) -> None:
        try:
            with self._calling() as identity:
                identity.Logout(pb.LogoutRequest(refresh_token=held.refresh_token))
        except IdentityRefused as error:
            if error.reason != "TOKEN_INVALID":
                raise

    @contextmanager
    def _calling(self) -> Iterator[Any]:
        try:
            with open_channel(self._target, timeout_seconds=_SECONDS) as channel, typed_errors():
                yield IdentityServiceStub(channel)
        except TrackOpsError as error:
            raise IdentityRefused(
                self._target, str(error), reason=error.reason, no_answer=error.code in _NO_ANSWER
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[dict[str, _Held]]:
        """What is kept for the target, and nobody else keeps anything meanwhile."""
        self._store.parent.mkdir(parents=True, exist_ok=True)
        with self._store.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield self._read()

    def _read(self) -> dict[str, _Held]:
        entries: dict[str, Any] = self._document().get(self._target, {})
        return {kind: _Held(**held) for kind, held in entries.items()}

    def _keep(self, entries: dict[str, _Held], kind: str, tokens: Tokens) -> _Held:
        now = self._now()
        expire_time = tokens.access_expire_time.ToDatetime(tzinfo=UTC).timestamp()
        held = _Held(
            tokens.access_token,
            now + _RENEW_AFTER * (expire_time - now),
            expire_time,
            tokens.refresh_token,
        )
        self._write({**entries, kind: held})
        return held

    def _forget(self, entries: dict[str, _Held]) -> None:
        self._at_hand.clear()
        self._write({kind: held for kind, held in entries.items() if kind != _SESSION})

    def _write(self, entries: dict[str, _Held]) -> None:
        kept = {kind: asdict(held) for kind, held in entries.items()}
        write_private(self._store, json.dumps(self._document() | {self._target: kept}, indent=2))

    def _document(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self._store.read_text())
        except FileNotFoundError:
            return {}
        return document


def access_token() -> str:
    """The token that a call of the command carries, for the identity service that the environment
    names; cheap where one is at hand.

    Raises:
        StackError: see `Credentials.access_token`.
    """
    return of_environment().access_token()


def of_environment() -> Credentials:
    """The credentials for the identity service that the environment names.

    Development clients are those of the local stack's own identity service: its secret is told to
    nobody else.

    Raises:
        StackError: a port in the environment is none.
    """
    home, target = Home.from_environment(), target_of("identity")
    if not home.secrets_file.exists():
        return _shared(_user_store(), target, "")
    is_local = target == local_target_of("identity")
    secret = home.known_password(DEVELOPMENT_SECRET) if is_local else ""
    return _shared(home.credentials_file, target, secret)


@lru_cache(maxsize=8)
def _shared(store: Path, target: str, development_secret: str) -> Credentials:
    """One for all calls of a process, so that most find their token at hand."""
    return Credentials(store, target, development_secret=development_secret)


def _user_store() -> Path:
    """In the user's state folder (XDG Base Directory Specification 0.8)."""
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(folder) / "trackops" / "credentials.json"
