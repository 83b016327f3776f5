"""What each user may do on a real broker, which is exactly what the table says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.admin import AdminClient as _AdminClient

from trackops_cli.local.kafka_rights import KAFKA_USERS, KafkaUser, ensure_acls, ensure_users
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import temporary_stack, wait_for
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.topic_setup import ensure_topics
from trackops_common.topics import ORDER_EVENTS, SAGA_RETRIES, TOPICS, Topic

AdminClient: Any = _AdminClient

_SECONDS = 20
_END = KafkaError._PARTITION_EOF
_QUIET = {"log_level": 0}
_GROUPS = {f"{group}.x" for user in KAFKA_USERS for group in user.groups} | {"somebody"}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A Kafka that knows the services' users, and nothing else."""
    with temporary_stack(kafka_protocol="SASL_PLAINTEXT") as made:
        made.kafka.start()
        made.provision_kafka()
        yield made


@pytest.fixture(params=KAFKA_USERS, ids=lambda user: user.name)
def user(request: pytest.FixtureRequest) -> KafkaUser:
    made: KafkaUser = request.param
    return made


@pytest.fixture
def access(stack: LocalStack, user: KafkaUser) -> KafkaAccess:
    return stack.kafka.access(user.name)


def test_it_writes_its_topics_and_no_other(access: KafkaAccess, user: KafkaUser) -> None:
    refused: dict[str, int] = {}

    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            refused[message.topic()] = error.code()

    producer = Producer({**access.connection, **_QUIET, "on_delivery": delivered})
    for topic in TOPICS:
        producer.produce(topic.name, key=b"key", value=b"value")
    assert producer.flush(_SECONDS) == 0

    others = {topic.name for topic in TOPICS} - {topic.name for topic in user.writes}
    assert refused == dict.fromkeys(others, KafkaError.TOPIC_AUTHORIZATION_FAILED)


def test_it_reads_its_topics_and_no_other(access: KafkaAccess, user: KafkaUser) -> None:
    """Of those it can find; the others have no partitions for it."""
    settings = {
        **access.connection,
        **_QUIET,
        "group.id": f"{user.groups[0]}.x",
        "enable.partition.eof": True,
    }
    shown: dict[str, int | None] = {}
    with closing(Consumer(settings)) as consumer:
        there = consumer.list_topics(timeout=_SECONDS).topics
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in there])
        while len(shown) < len(there):
            message = consumer.poll(_SECONDS)
            assert message is not None, f"nothing more after {shown}"
            if (topic := message.topic()) is not None:  # else it is about the group
                error = message.error()
                shown.setdefault(topic, error.code() if error else None)

    readable = {topic for topic, code in shown.items() if code in (None, _END)}
    assert readable == {topic.name for topic in user.reads}
    refused = {code for topic, code in shown.items() if topic not in readable}
    assert refused <= {KafkaError.TOPIC_AUTHORIZATION_FAILED}


def test_it_finds_its_topics_and_no_other(access: KafkaAccess, user: KafkaUser) -> None:
    found = AdminClient({**access.connection, **_QUIET}).list_topics(timeout=_SECONDS).topics

    mine = {topic.name for topic in (*user.reads, *user.writes, *user.describes)}
    assert set(found) == mine


@pytest.mark.parametrize("group", sorted(_GROUPS))
def test_it_enters_its_groups_and_no_other(
    access: KafkaAccess, user: KafkaUser, group: str
) -> None:
    entered: list[Any] = []
    refused: list[int] = []
    settings = {**access.connection, **_QUIET, "group.id": group}
    with closing(Consumer(settings)) as consumer:
        consumer.subscribe([user.reads[0].name], on_assign=lambda _, given: entered.append(given))

        def decided() -> bool:
            message = consumer.poll(0.1)
            error = message.error() if message is not None else None
            if error is not None and error.code() != KafkaError.NOT_COORDINATOR:
                refused.append(error.code())
            return bool(entered or refused)

        wait_for(decided, seconds=_SECONDS, what=f"an answer for {group}")

    if group.startswith(tuple(user.groups)):
        assert (len(entered), refused) == (1, [])
    else:
        assert refused == [KafkaError.GROUP_AUTHORIZATION_FAILED]


@pytest.mark.parametrize("transactional_id", ["trackops.relay.checkpoints.v1.x", "somebody"])
def test_it_has_its_transactional_ids_and_no_other(
    access: KafkaAccess, user: KafkaUser, transactional_id: str
) -> None:
    producer = Producer({**access.connection, **_QUIET, "transactional.id": transactional_id})

    if transactional_id.startswith(tuple(user.transactions)):
        producer.init_transactions(_SECONDS)
        return
    with pytest.raises(KafkaException) as refusal:
        producer.init_transactions(_SECONDS)
    code = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert refusal.value.args[0].code() == code


def _alter_config(admin: Any) -> Any:
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, ORDER_EVENTS.name, incremental_configs=[entry])
    return admin.incremental_alter_configs([resource])


_ADMINISTRATION: Mapping[str, Callable[[Any], Any]] = {
    "make a topic": lambda admin: admin.create_topics([NewTopic("loot", 1)]),
    "delete a topic": lambda admin: admin.delete_topics([ORDER_EVENTS.name]),
    "change a topic": _alter_config,
    "give itself rights": lambda admin: admin.create_acls(list(KAFKA_USERS[2].acls)),
    "delete a group": lambda admin: admin.delete_consumer_groups(["somebody"]),
}


@pytest.mark.parametrize("attempt", _ADMINISTRATION)
def test_it_administers_nothing(access: KafkaAccess, attempt: str) -> None:
    client = AdminClient({**access.connection, **_QUIET})
    answers = _ADMINISTRATION[attempt](client)

    refusals = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
    for answer in answers.values():
        with pytest.raises(KafkaException) as refusal:
            answer.result(_SECONDS)
        assert refusal.value.args[0].code() in refusals


def test_it_makes_no_users(access: KafkaAccess, stack: LocalStack) -> None:
    with pytest.raises(KafkaException, match="CLUSTER_AUTHORIZATION_FAILED"):
        ensure_users(access, {"accomplice": "password"})


def _answered(*accesses: KafkaAccess) -> list[KafkaAccess]:
    """Those that the broker lets in; all are tried at once, as a refusal is waited for."""
    with ThreadPoolExecutor(len(accesses)) as pool:
        answers = list(pool.map(_answers, accesses))
    return [access for access, answer in zip(accesses, answers, strict=True) if answer]


def _answers(access: KafkaAccess) -> bool:
    try:
        return bool(AdminClient({**access.connection, **_QUIET}).list_topics(timeout=3).brokers)
    except KafkaException:
        return False


@pytest.fixture
def setup(stack: LocalStack) -> KafkaAccess:
    """The user of the chart's setup, with the rights that docs/server-rights.md has for it."""
    name, password = "trackops_setup", "a password of its own"
    admin = AdminClient({**stack.kafka.access().connection, **_QUIET})
    rights = [
        AclBinding(
            ResourceType.TOPIC,
            "trackops.",
            ResourcePatternType.PREFIXED,
            f"User:{name}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for operation in (AclOperation.CREATE, AclOperation.DESCRIBE)
    ]
    ensure_users(stack.kafka.access(), {name: password})
    for done in admin.create_acls(rights).values():
        done.result(_SECONDS)
    return KafkaAccess.with_password(stack.kafka.bootstrap, name, password)


def test_the_setup_makes_topics_of_the_mesh_and_does_nothing_else(
    setup: KafkaAccess, stack: LocalStack
) -> None:
    missing = Topic("trackops.setup.test.v1", partitions=2, config={"retention.ms": "1000"})
    admin = AdminClient({**stack.kafka.access().connection, **_QUIET})
    wait_for(lambda: _answers(setup), what="the broker knows the user")
    try:
        ensure_topics(setup, [*TOPICS, missing])
        made = admin.list_topics(timeout=_SECONDS).topics[missing.name]
        assert len(made.partitions) == missing.partitions
        for attempt in _ADMINISTRATION:
            test_it_administers_nothing(setup, attempt)
    finally:
        admin.delete_topics([missing.name])[missing.name].result(_SECONDS)


def test_nobody_enters_without_a_name_and_its_password(stack: LocalStack, user: KafkaUser) -> None:
    bootstrap, password = stack.kafka.bootstrap, stack.kafka.password(user.name)

    right = KafkaAccess.with_password(bootstrap, user.name, password)
    wrong = [
        KafkaAccess.with_password(bootstrap, user.name, "wrong"),
        KafkaAccess.with_password(bootstrap, "somebody", password),
        KafkaAccess(bootstrap),
        # A service's password never travels itself.
        KafkaAccess.with_password(bootstrap, user.name, password, mechanism="PLAIN"),
    ]

    assert _answered(right, *wrong) == [right]


def test_provisioning_takes_back_what_a_user_must_not_have(stack: LocalStack) -> None:
    greedy = KafkaUser(name="greedy", reads=[ORDER_EVENTS], writes=[SAGA_RETRIES])
    admin = stack.kafka.access()
    ensure_users(admin, {greedy.name: "password"})
    ensure_acls(admin, [greedy])
    modest = KafkaUser(name="greedy", reads=[ORDER_EVENTS])

    for _ in range(2):  # harmless to repeat
        ensure_acls(admin, [modest])

    access = KafkaAccess.with_password(stack.kafka.bootstrap, greedy.name, "password")
    test_it_finds_its_topics_and_no_other(access, modest)


def test_the_brokers_settings_are_for_its_owner_alone(stack: LocalStack) -> None:
    file = stack.context.home.data_of("kafka") / "server.properties"

    assert file.stat().st_mode & 0o077 == 0
    secret = stack.kafka.password("trackops_kafka_admin")
    command = stack.kafka.command()
    assert secret in file.read_text()
    assert secret not in f"{command.argv} {command.environment}"
