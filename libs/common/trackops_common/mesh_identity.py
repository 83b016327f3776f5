"""How a service knows its callers, and how it makes itself known to those it calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from trackops_common.access_tokens import AccessTokenVerifier, KeySet
from trackops_common.background import running
from trackops_common.clock import SystemClock
from trackops_common.errors import StartRefused
from trackops_common.grpc.admission import Access
from trackops_common.identity_client import (
    ServiceToken,
    key_set_at,
    parse_key_set,
    service_token_at,
)
from trackops_common.renewal import Renewed
from trackops_common.revocations import RevocationFeed, RevocationSettings
from trackops_common.settings import ServiceSettings

__all__ = ["KeySource", "ServiceTokens", "Verification", "verification"]

_log = structlog.get_logger(__name__)

KeySource = Callable[[], str]
"""Gives the key set as JSON (RFC 7517); blocks, and may raise `TransientError`."""

_KEYS_SECONDS = 60.0
"""How old the keys get; the identity service announces a key much longer before it signs."""
_UNKNOWN_KEY_SECONDS = 5.0
"""Tokens of unknown keys, which anybody can make up, have the keys fetched no more often."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a server knows its callers by."""

    access: Access
    background: Sequence[asyncio.Task[None]]
    """Keep the keys fresh, and listen for sessions that end."""
    check: Callable[[], None]
    """Blocks; raises DependencyUnavailable until there are keys. From then on tokens are verified,
    with the keys at hand where the identity service is away."""
    revocations: Callable[[], Awaitable[None]]
    """Waits, as long as the settings say, for the sessions that ended before their tokens."""


@asynccontextmanager
async def verification(
    settings: ServiceSettings, key_source: KeySource | None = None
) -> AsyncIterator[Verification]:
    """Verifies tokens with the keys of `key_source`, or of the identity service of the settings.

    Raises:
        StartRefused: there is neither.
    """
    source = key_source or _key_source(settings)
    verifier = AccessTokenVerifier(
        KeySet({}), SystemClock(), issuer=settings.issuer, audience=settings.audience
    )
    loop = asyncio.get_running_loop()

    def take(keys: KeySet) -> None:
        loop.call_soon_threadsafe(verifier.replace_keys, keys)

    keys = Renewed(
        "the keys of access tokens",
        lambda: parse_key_set(source()),
        lambda _: _KEYS_SECONDS,
        on_value=take,
    )

    async def renew() -> None:
        await asyncio.to_thread(keys.renew, unless_tried_within_seconds=_UNKNOWN_KEY_SECONDS)

    def check() -> None:
        keys.get()

    feed = _feed(settings, verifier)
    loops = {"token-keys": keys.run} | ({"revocations": feed.run} if feed else {})
    async with running(loops) as tasks:
        yield Verification(Access(verifier, renew), tasks, check, partial(_wait, settings, feed))


def _feed(settings: ServiceSettings, verifier: AccessTokenVerifier) -> RevocationFeed | None:
    if not settings.kafka_bootstrap_servers:
        return None
    return RevocationFeed(RevocationSettings(kafka=settings.kafka), verifier.revoke)


async def _wait(settings: ServiceSettings, feed: RevocationFeed | None) -> None:
    if feed is None:
        return
    try:
        await asyncio.wait_for(feed.loaded(), settings.revocations_wait_seconds)
    except TimeoutError:
        _log.warning("Kafka has not told yet which sessions have ended; serving all the same")


def _key_source(settings: ServiceSettings) -> KeySource:
    if not settings.identity_target:
        raise StartRefused(
            "TRACKOPS_IDENTITY_TARGET is missing: without the identity service's keys no caller "
            "can be known"
        )
    return partial(key_set_at, settings.identity_target, settings.tls)


class ServiceTokens:
    """The token in which this service calls others: cached, renewed at half of its life.

    While the identity service is away the token at hand is used to its end.
    """

    def __init__(
        self, settings: ServiceSettings, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Without `client_id` calls carry no token.

        Raises:
            StartRefused: there is a `client_id` without what belongs to it.
        """
        self._has_client = bool(settings.client_id)
        secret = settings.client_secret.get_secret_value()
        if self._has_client and not (secret and settings.identity_target):
            raise StartRefused(
                "TRACKOPS_CLIENT_ID needs TRACKOPS_CLIENT_SECRET and TRACKOPS_IDENTITY_TARGET"
            )
        clock = SystemClock()

        def half_life(token: ServiceToken) -> float:
            return max(1.0, (token.expire_time - clock.now()).total_seconds() / 2)

        self._token = Renewed(
            "this service's own token",
            partial(
                service_token_at,
                settings.identity_target,
                settings.client_id,
                secret,
                settings.tls,
            ),
            half_life,
            clock=monotonic,
        )

    def get(self) -> str:
        """The token, renewed first where that is due; blocks. Empty: there is no client.

        Raises:
            DependencyUnavailable: there is none at hand, and none to be had.
        """
        return self._token.get().text if self._has_client else ""

    def at_hand(self) -> str:
        """The token at once, as `run` left it; empty where there is none."""
        token = self._token.at_hand
        return token.text if token else ""

    def check(self) -> None:
        """Raises DependencyUnavailable while there is no token; blocks."""
        self.get()

    def run(self, stop: threading.Event) -> None:
        """Keep the token fresh until `stop` is set."""
        if self._has_client:
            self._token.run(stop)
        stop.wait()
