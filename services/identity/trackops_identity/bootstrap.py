"""Where the identity service's ports meet Postgres, Argon2 and gRPC."""

from __future__ import annotations

import asyncio
import secrets
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import structlog
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode
from trackops.identity.v1 import identity_service_pb2

from trackops_common.bounded_calls import CallLimits, Places
from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.errors import TransientError
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.hosting import BatcherFactory, batcher_factory, own_database
from trackops_common.settings import ServerUrl, ServiceSettings
from trackops_common.topics import IDENTITY_EVENTS, IDENTITY_LETTERS
from trackops_common.vitals import Vitals
from trackops_identity.adapters.access_tokens import Ed25519Keys, JwtSigner
from trackops_identity.adapters.encoding import IdentityTopics
from trackops_identity.adapters.passwords import Argon2Hasher, common_passwords
from trackops_identity.adapters.postgres import PostgresIdentityReader, PostgresUnitOfWorkFactory
from trackops_identity.adapters.redis_sessions import CachedSessionEnds
from trackops_identity.adapters.sweeping import sweep
from trackops_identity.application.attempts import PasswordAttempts, ThrottlePolicies
from trackops_identity.application.first_start import FirstStart
from trackops_identity.application.letter_tokens import LetterTokens
from trackops_identity.application.login import Logins
from trackops_identity.application.passwords import (
    ChangePasswords,
    NewPasswords,
    RequestPasswordResets,
    ResetPasswords,
)
from trackops_identity.application.ports import SessionEnds
from trackops_identity.application.refresh_sessions import (
    ListSessions,
    Logouts,
    RefreshSessions,
    RevokeSessionsOfUsers,
)
from trackops_identity.application.refresh_tokens import RefreshTokens
from trackops_identity.application.register_users import RegisterUsers, VerifyEmails
from trackops_identity.application.roles import GetUsers, SetUsersRoles
from trackops_identity.application.service_clients import (
    IssueServiceTokens,
    PutServiceClient,
    PutServiceClients,
)
from trackops_identity.application.sessions import SessionTokens
from trackops_identity.application.signing_keys import GetKeySet, RotateSigningKeys
from trackops_identity.domain.passwords import PasswordPolicy
from trackops_identity.domain.roles import Role
from trackops_identity.domain.service_client import ServiceClient, development_clients
from trackops_identity.domain.session import SessionLimits
from trackops_identity.domain.signing_keys import KeySchedule
from trackops_identity.entrypoints.addresses import ClientAddresses, Network
from trackops_identity.entrypoints.errors import identity_failure
from trackops_identity.entrypoints.identity_servicer import IdentityServicer, UseCases
from trackops_identity.entrypoints.key_set_page import KEY_SET_PATH, key_set_page

__all__ = ["IdentitySettings", "bootstrap"]

_log = structlog.get_logger(__name__)

_CLOCK_SKEW = timedelta(minutes=1)
_KEEPING_SECONDS = 60.0


class IdentitySettings(ServiceSettings):
    """Settings of the identity service."""

    identity_events_topic: str = IDENTITY_EVENTS.name
    """Where accounts' and sessions' changes go."""
    identity_letters_topic: str = IDENTITY_LETTERS.name
    """Where letters go that a mailer sends; they hold one-time tokens."""
    redis_url: ServerUrl | None = None
    """`redis://user:password@host:port/database`, or `rediss://` with `?ssl_ca_certs=<file>`:
    remembers which sessions have ended. None: Postgres alone is asked."""
    token_seal_key: Annotated[SecretStr, Field(min_length=32)]
    """Seals refresh tokens and those of letters; every replica has the same. A new one ends all
    sessions."""
    key_encryption_key: Annotated[SecretStr, Field(min_length=32)]
    """Encrypts the signing keys in the database."""
    access_token_minutes: float = 10.0
    """How long a token is good."""
    session_idle_days: float = 30.0
    """A session ends so long after its last refresh."""
    session_absolute_days: float = 180.0
    """A session ends so long after its log-in."""
    signing_key_days: float = 30.0
    """How long a key signs."""
    secret_overlap_seconds: float = 3600.0
    """How long a client's old secret stays good after it was replaced."""
    password_min_length: int = 15
    """Characters; NIST SP 800-63B-4 asks for 15 where nothing else proves who it is."""
    argon2_time_cost: int = 3
    """Passes over the memory, for each password (RFC 9106)."""
    argon2_memory_kibibytes: int = 65_536
    """Memory for one password while it is hashed."""
    argon2_parallelism: int = 4
    """Lanes of one password's hash (RFC 9106)."""
    max_concurrent_hashes: int = 2
    """Passwords hashed at a time, each of which takes `argon2_memory_kibibytes`."""
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    """Addresses or networks, with commas between, of the proxies whose `x-forwarded-for` is
    believed: failed log-ins count against the address that they name."""
    admin_email: str = "admin@trackops.invalid"
    """The administrator that the first start makes."""
    first_clients: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Secrets of the mesh's own programs, by client id, as JSON; each gets role SERVICE."""
    development_secret: SecretStr = SecretStr("")
    """Development only: the secret of clients named `development-admin` and so on, one for each
    role. Empty: there are none."""

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


@asynccontextmanager
async def bootstrap(settings: IdentitySettings) -> AsyncIterator[Application]:
    """The identity service, built and ready, with a key and an administrator."""
    vitals = Vitals.of(settings)
    async with (
        own_database(settings, application_name="trackops_identity", vitals=vitals) as (
            database,
            keeper,
        ),
        batcher_factory(threads=settings.database_pool_size, vitals=vitals) as batcher,
        AsyncExitStack() as stack,
    ):
        parts = _Parts.of(settings, database)
        ends = _session_ends(settings, parts, stack, vitals)
        await asyncio.to_thread(_first_start, settings, parts)
        use_cases = _use_cases(settings, parts, ends, batcher)
        service = RpcService(
            identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],
            IdentityServicer(use_cases, ClientAddresses(settings.trusted_proxies)),
            identity_failure,
        )
        rotation = asyncio.create_task(_keep(parts, database), name="identity keeping")
        try:
            yield Application(
                [service],
                background=[keeper, rotation],
                dependencies={"Postgres": database.check},
                vitals=vitals,
                key_source=GetKeySet(parts.reader, parts.schedule, parts.clock),
                pages={KEY_SET_PATH: key_set_page(use_cases.get_key_set)},
            )
        finally:
            rotation.cancel()


@dataclass(frozen=True)
class _Parts:
    """What many use cases share."""

    clock: SystemClock
    unit_of_work: PostgresUnitOfWorkFactory
    reader: PostgresIdentityReader
    hasher: Argon2Hasher
    schedule: KeySchedule
    keys: Ed25519Keys
    rotate: RotateSigningKeys
    tokens: SessionTokens
    letters: LetterTokens
    access_lifetime: timedelta

    @classmethod
    def of(cls, settings: IdentitySettings, database: Database) -> _Parts:
        clock = SystemClock()
        topics = IdentityTopics(settings.identity_events_topic, settings.identity_letters_topic)
        unit_of_work = PostgresUnitOfWorkFactory(database, topics)
        reader = PostgresIdentityReader(database)
        lifetime = timedelta(minutes=settings.access_token_minutes)
        schedule = KeySchedule(
            signs_for=timedelta(days=settings.signing_key_days),
            token_lifetime=lifetime + _CLOCK_SKEW,
        )
        keys = Ed25519Keys(settings.key_encryption_key.get_secret_value())
        signer = JwtSigner(
            keys,
            clock,
            issuer=settings.issuer,
            audience=settings.audience,
            lifetime=lifetime,
        )
        seal = settings.token_seal_key.get_secret_value().encode()
        return cls(
            clock=clock,
            unit_of_work=unit_of_work,
            reader=reader,
            hasher=Argon2Hasher(
                time_cost=settings.argon2_time_cost,
                memory_kibibytes=settings.argon2_memory_kibibytes,
                parallelism=settings.argon2_parallelism,
            ),
            schedule=schedule,
            keys=keys,
            rotate=RotateSigningKeys(unit_of_work, keys, schedule, clock),
            tokens=SessionTokens(reader, signer, RefreshTokens(seal), schedule),
            letters=LetterTokens(seal),
            access_lifetime=lifetime + _CLOCK_SKEW,
        )


def _first_start(settings: IdentitySettings, parts: _Parts) -> None:
    start = FirstStart(
        parts.unit_of_work, parts.rotate, parts.hasher, _make_secret, parts.clock, uuid.uuid4
    )
    if admin := start(settings.admin_email):
        sys.stdout.write(f"The first administrator: {admin.email} / {admin.password}\n")
        sys.stdout.flush()
    parts.keys.private_half(parts.tokens.signing_key(parts.clock.now()))
    _put_first_clients(settings, parts)


def _put_first_clients(settings: IdentitySettings, parts: _Parts) -> None:
    put = PutServiceClients(parts.unit_of_work, _make_secret, parts.clock)
    overlap = timedelta(seconds=settings.secret_overlap_seconds)
    for client_id, secret in settings.first_clients.items():
        text = secret.get_secret_value()
        known = parts.reader.client(client_id)
        if known is None or not known.knows(text, overlap=overlap, now=parts.clock.now()):
            put(PutServiceClient(client_id, frozenset({Role.SERVICE}), text))


def _development(settings: IdentitySettings, clock: SystemClock) -> Mapping[str, ServiceClient]:
    secret = settings.development_secret.get_secret_value()
    return development_clients(secret, now=clock.now())


async def _keep(parts: _Parts, database: Database) -> None:
    """Make the next key in time, and drop what is too old to matter."""
    while True:
        await asyncio.sleep(_KEEPING_SECONDS)
        try:
            if key := await asyncio.to_thread(lambda: parts.rotate(only_if_due=True)):
                _log.info("next signing key made", key_id=key.key_id, sign_time=str(key.sign_time))
            await asyncio.to_thread(sweep, database)
        except TransientError as error:
            _log.warning("keys and sessions not tended; will try again", error=str(error))


def _session_ends(
    settings: IdentitySettings, parts: _Parts, stack: AsyncExitStack, vitals: Vitals
) -> SessionEnds:
    if settings.redis_url is None:
        return parts.reader
    url = settings.redis_url.get_secret_value()
    cached = stack.enter_context(closing(CachedSessionEnds(parts.reader, url)))
    vitals.optional["Redis"] = lambda: cached.sound
    return cached


def _use_cases(
    settings: IdentitySettings, parts: _Parts, ends: SessionEnds, batcher: BatcherFactory
) -> UseCases:
    unit_of_work, reader, clock = parts.unit_of_work, parts.reader, parts.clock
    hashing = Places(CallLimits(max_running=settings.max_concurrent_hashes))
    policy = PasswordPolicy(common_passwords(), settings.password_min_length)
    limits = SessionLimits(
        idle=timedelta(days=settings.session_idle_days),
        absolute=timedelta(days=settings.session_absolute_days),
    )
    attempts = PasswordAttempts(unit_of_work, parts.hasher, clock, ThrottlePolicies())
    new_passwords = NewPasswords(policy, parts.hasher, parts.access_lifetime)
    overlap = timedelta(seconds=settings.secret_overlap_seconds)
    alone = batcher.alone
    return UseCases(
        register=alone(
            RegisterUsers(unit_of_work, policy, parts.hasher, parts.letters, clock), places=hashing
        ),
        verify_email=alone(VerifyEmails(unit_of_work, parts.letters, clock)),
        login=alone(
            Logins(
                unit_of_work,
                attempts,
                parts.hasher,
                new_passwords,
                parts.tokens,
                limits,
                clock,
                uuid.uuid4,
            ),
            places=hashing,
        ),
        refresh=alone(
            RefreshSessions(
                unit_of_work,
                ends,
                parts.tokens.refresh_tokens,
                parts.tokens,
                limits,
                clock,
                parts.access_lifetime,
            )
        ),
        logout=alone(
            Logouts(
                unit_of_work,
                ends,
                parts.tokens.refresh_tokens,
                reader,
                clock,
                parts.access_lifetime,
            )
        ),
        list_sessions=alone(ListSessions(reader, clock)),
        revoke_sessions=alone(RevokeSessionsOfUsers(unit_of_work, clock, parts.access_lifetime)),
        change_password=alone(
            ChangePasswords(unit_of_work, reader, attempts, new_passwords, clock), places=hashing
        ),
        request_reset=alone(RequestPasswordResets(unit_of_work, parts.letters, clock)),
        reset_password=alone(
            ResetPasswords(unit_of_work, reader, parts.letters, new_passwords, clock),
            places=hashing,
        ),
        set_roles=alone(SetUsersRoles(unit_of_work, clock)),
        get_user=alone(GetUsers(reader)),
        put_client=alone(PutServiceClients(unit_of_work, _make_secret, clock)),
        issue_service_token=alone(
            IssueServiceTokens(reader, parts.tokens, overlap, clock, _development(settings, clock))
        ),
        get_key_set=alone(lambda _: GetKeySet(reader, parts.schedule, clock)()),
        rotate_key=alone(_rotation(parts.rotate)),
    )


def _rotation(rotate: RotateSigningKeys) -> Callable[[None], str]:
    def run(_: None) -> str:
        key = rotate(only_if_due=False)
        return key.key_id if key else ""

    return run


def _make_secret() -> str:
    return secrets.token_urlsafe(32)
