"""What each service may do in Kafka; docs/server-rights.md says why."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from trackops_common.kafka_settings import KafkaAccess
from trackops_common.topics import (
    IDENTITY_EVENTS,
    IDENTITY_LETTERS,
    INVENTORY_EVENTS,
    ORDER_EVENTS,
    PAYMENT_EVENTS,
    RELAY_CHECKPOINTS,
    SAGA_DEAD_LETTERS,
    SAGA_RETRIES,
    Topic,
)

__all__ = ["KAFKA_ADMIN", "KAFKA_USERS", "OPERATOR", "KafkaUser", "ensure_acls", "ensure_users"]

KAFKA_ADMIN = "trackops_kafka_admin"
"""Makes topics, users and rights; no service knows its password."""
OPERATOR = "trackops_operator"
"""Who is on call, and the `trackops` command."""

_REVOCATIONS = "trackops.revocations"
"""The name under which every service reads which sessions have ended; nobody joins the group."""

_TIMEOUT_SECONDS = 30
_ITERATIONS = 4096
_FROM_OUTBOXES = (
    ORDER_EVENTS,
    INVENTORY_EVENTS,
    PAYMENT_EVENTS,
    IDENTITY_EVENTS,
    IDENTITY_LETTERS,
    SAGA_DEAD_LETTERS,
)


@dataclass(frozen=True, kw_only=True)
class KafkaUser:
    """Groups and transactional ids are given by how they begin."""

    name: str
    reads: Sequence[Topic] = ()
    writes: Sequence[Topic] = ()
    describes: Sequence[Topic] = ()
    """Topics that it only has to find."""
    settings_of: Sequence[Topic] = ()
    """Topics whose settings it reads."""
    groups: Sequence[str] = ()
    transactions: Sequence[str] = ()

    @property
    def acls(self) -> Iterator[AclBinding]:
        """All that it is allowed; nobody is denied anything, since what is not allowed is refused.

        Whoever reads or writes a topic may find it too.
        """
        topic, literal = ResourceType.TOPIC, ResourcePatternType.LITERAL
        for operation, topics in (
            (AclOperation.READ, self.reads),
            (AclOperation.WRITE, self.writes),
            (AclOperation.DESCRIBE, self.describes),
            (AclOperation.DESCRIBE_CONFIGS, self.settings_of),
        ):
            yield from (self._acl(topic, one.name, literal, operation) for one in topics)
        prefixed = ResourcePatternType.PREFIXED
        for name in self.groups:
            yield self._acl(ResourceType.GROUP, name, prefixed, AclOperation.READ)
        for name in self.transactions:
            yield self._acl(ResourceType.TRANSACTIONAL_ID, name, prefixed, AclOperation.WRITE)

    def _acl(self, kind: Any, name: str, pattern: Any, operation: Any) -> AclBinding:
        principal, allow = f"User:{self.name}", AclPermissionType.ALLOW
        return AclBinding(kind, name, pattern, principal, "*", operation, allow)


KAFKA_USERS = (
    KafkaUser(
        name="trackops_order",
        reads=[ORDER_EVENTS, IDENTITY_EVENTS],
        groups=["trackops_order", _REVOCATIONS],
    ),
    *(
        KafkaUser(name=name, reads=[IDENTITY_EVENTS], groups=[_REVOCATIONS])
        for name in ("trackops_inventory", "trackops_payment", "trackops_identity")
    ),
    KafkaUser(
        name="trackops_saga_orchestrator",
        reads=[ORDER_EVENTS, SAGA_RETRIES, IDENTITY_EVENTS],
        describes=[SAGA_DEAD_LETTERS],
        groups=["trackops_saga_orchestrator", _REVOCATIONS],
    ),
    KafkaUser(
        name="trackops_outbox_relay",
        reads=[*_FROM_OUTBOXES, RELAY_CHECKPOINTS],
        writes=[*_FROM_OUTBOXES, RELAY_CHECKPOINTS],
        settings_of=_FROM_OUTBOXES,
        groups=["trackops-outbox-relay", "trackops-relay-", _REVOCATIONS],
        transactions=[RELAY_CHECKPOINTS.name],
    ),
    *(
        KafkaUser(name=name, reads=[IDENTITY_EVENTS], groups=[_REVOCATIONS])
        for name in ("trackops_inventory", "trackops_payment", "trackops_identity")
    ),
    KafkaUser(
        name=OPERATOR,
        reads=[ORDER_EVENTS, INVENTORY_EVENTS, PAYMENT_EVENTS, SAGA_DEAD_LETTERS, SAGA_RETRIES],
        writes=[SAGA_RETRIES],
        groups=["trackops-cli", "trackops-demo"],
    ),
)


def ensure_users(admin: KafkaAccess, passwords: Mapping[str, str]) -> None:
    """SCRAM credentials for each name; raises KafkaException."""
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, _ITERATIONS)
    changes = [
        UserScramCredentialUpsertion(user, scram, password.encode())
        for user, password in passwords.items()
    ]
    client = _client(admin)
    _wait(client.alter_user_scram_credentials(changes, request_timeout=_TIMEOUT_SECONDS))


def ensure_acls(admin: KafkaAccess, users: Sequence[KafkaUser] = KAFKA_USERS) -> None:
    """Makes the rights of these users those of the table, no more and no less.

    Other users' rights are left alone. Raises KafkaException.
    """
    client = _client(admin)
    wanted = {acl for user in users for acl in user.acls}
    names = {f"User:{user.name}" for user in users}
    answer = client.describe_acls(_anything(), request_timeout=_TIMEOUT_SECONDS)
    present = {acl for acl in answer.result() if acl.principal in names}
    if missing := wanted - present:
        _wait(client.create_acls(list(missing), request_timeout=_TIMEOUT_SECONDS))
    if excess := [_exactly(acl) for acl in present - wanted]:
        _wait(client.delete_acls(excess, request_timeout=_TIMEOUT_SECONDS))


def _client(access: KafkaAccess) -> Any:
    return AdminClient({**access.connection, "log_level": 0})


def _wait(answers: Mapping[Any, Future[Any]]) -> None:
    for answer in answers.values():
        answer.result(_TIMEOUT_SECONDS)


def _anything() -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _exactly(acl: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        acl.restype,
        acl.name,
        acl.resource_pattern_type,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )
