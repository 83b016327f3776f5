"""Accounts, sessions and tokens as messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from trackops.identity.v1 import identity_pb2

from trackops_identity.application.ports import AccessToken
from trackops_identity.application.sessions import GrantedSession
from trackops_identity.domain.roles import Role
from trackops_identity.domain.service_client import ServiceClient
from trackops_identity.domain.session import Session
from trackops_identity.domain.user import User

__all__ = [
    "client_message",
    "roles_of",
    "service_tokens_message",
    "session_message",
    "tokens_message",
    "user_message",
]


def roles_of(values: Iterable[identity_pb2.Role.ValueType]) -> frozenset[Role]:
    """The roles of a valid request."""
    return frozenset(Role(identity_pb2.Role.Name(value).removeprefix("ROLE_")) for value in values)


def user_message(user: User) -> identity_pb2.User:
    """An account as its service shows it."""
    return identity_pb2.User(
        user_id=str(user.user_id),
        email=user.email,
        email_verified=user.email_verified,
        roles=_role_values(user.roles),
        create_time=_timestamp(user.create_time),
        update_time=_timestamp(user.update_time),
    )


def session_message(session: Session) -> identity_pb2.Session:
    """A session as its service shows it."""
    return identity_pb2.Session(
        session_id=str(session.session_id),
        user_id=str(session.user_id),
        device=session.device,
        address=session.address,
        create_time=_timestamp(session.create_time),
        use_time=_timestamp(session.use_time),
        expire_time=_timestamp(session.expire_time),
    )


def tokens_message(granted: GrantedSession) -> identity_pb2.Tokens:
    """The tokens of a session."""
    return identity_pb2.Tokens(
        access_token=granted.access.text,
        access_expire_time=_timestamp(granted.access.expire_time),
        refresh_token=granted.refresh_token,
        refresh_expire_time=_timestamp(granted.session.expire_time),
    )


def service_tokens_message(token: AccessToken) -> identity_pb2.Tokens:
    """The token of a program."""
    return identity_pb2.Tokens(
        access_token=token.text, access_expire_time=_timestamp(token.expire_time)
    )


def client_message(client: ServiceClient) -> identity_pb2.ServiceClient:
    """A program as its service shows it."""
    return identity_pb2.ServiceClient(
        client_id=client.client_id,
        roles=_role_values(client.roles),
        create_time=_timestamp(client.create_time),
        secret_time=_timestamp(client.secret_time),
    )


def _role_values(roles: Iterable[Role]) -> Sequence[identity_pb2.Role.ValueType]:
    return [identity_pb2.Role.Value(f"ROLE_{role}") for role in sorted(roles)]


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
