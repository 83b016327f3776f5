"""Programs: their secrets, and tokens for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from trackops_common.clock import Clock
from trackops_identity.application.ports import (
    AccessToken,
    IdentityReader,
    SecretMaker,
    UnitOfWorkFactory,
)
from trackops_identity.application.sessions import SessionTokens
from trackops_identity.domain.errors import CredentialsInvalid
from trackops_identity.domain.roles import Role
from trackops_identity.domain.service_client import ServiceClient

__all__ = [
    "IssueServiceToken",
    "IssueServiceTokens",
    "NewSecret",
    "PutServiceClient",
    "PutServiceClients",
]


@dataclass(frozen=True, slots=True)
class PutServiceClient:
    """Make a program known, or give it a new secret and these roles."""

    client_id: str
    roles: frozenset[Role]
    secret: str = field(default="", repr=False)
    """Empty: one is made."""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A client and the secret that it has from now on."""

    client: ServiceClient
    secret: str = field(repr=False)


@dataclass(frozen=True)
class PutServiceClients:
    """The secret is shown this once; its hash alone is kept."""

    unit_of_work: UnitOfWorkFactory
    make_secret: SecretMaker
    clock: Clock

    def __call__(self, command: PutServiceClient) -> NewSecret:
        """The client as it stands now, and its secret."""
        now = self.clock.now()
        secret = command.secret or self.make_secret()
        with self.unit_of_work() as work:
            client = work.clients.lock(command.client_id)
            if client is None:
                client = ServiceClient.make(
                    command.client_id, roles=command.roles, secret=secret, now=now
                )
            else:
                client.replace_secret(secret, roles=command.roles, now=now)
            work.clients.put(client)
            work.commit()
        return NewSecret(client, secret)


@dataclass(frozen=True, slots=True)
class IssueServiceToken:
    """Vouch for a program."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class IssueServiceTokens:
    """Without a throttle: a secret of 32 random bytes is not guessed, and checked at no cost."""

    reader: IdentityReader
    tokens: SessionTokens
    secret_overlap: timedelta
    clock: Clock
    built_in: Mapping[str, ServiceClient] = field(default_factory=dict)
    """Clients by id that stand in no table; they come first."""

    def __call__(self, command: IssueServiceToken) -> AccessToken:
        """A token with the client's roles.

        Raises:
            CredentialsInvalid: no client has this id and this secret.
        """
        now = self.clock.now()
        client = self.built_in.get(command.client_id) or self.reader.client(command.client_id)
        if client is None or not client.knows(
            command.client_secret, overlap=self.secret_overlap, now=now
        ):
            raise CredentialsInvalid
        return self.tokens.signer.sign(
            self.tokens.signing_key(now),
            subject=f"client:{client.client_id}",
            roles=client.roles,
            session_id=None,
        )
