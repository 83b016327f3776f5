"""What each service's user cannot do in the real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from trackops_cli.local.redis_rights import REDIS_USERS
from trackops_cli.local.stack import LocalStack

_USERS = [user.name for user in REDIS_USERS]
_KEYS = {user.name: user.keys.replace("*", "one") for user in REDIS_USERS}

_READS: dict[str, Callable[[Any, list[str]], object]] = {
    "trackops_order": lambda client, keys: client.mget(keys) == [b"value"],
    "trackops_identity": lambda client, keys: client.exists(*keys) == 1,
}
"""How each reads."""
_FORBIDDEN_COMMANDS = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "accomplice", "on", "nopass", "~*", "+@all"),
    ("CLIENT", "LIST"),
    ("DEBUG", "SLEEP", "0"),
    ("MONITOR",),
    ("INFO",),
    ("SAVE",),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MODULE", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("PUBLISH", "channel", "text"),
    ("SUBSCRIBE", "channel"),
    ("SELECT", "1"),
]


@pytest.fixture(params=_USERS)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(user: str, redis_url: str, servers: LocalStack) -> Iterator[Any]:
    with redis.Redis.from_url(servers.redis.url(user)) as made:
        yield made


@pytest.mark.parametrize("command", _FORBIDDEN_COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_user_is_refused_commands_that_its_service_does_not_use(
    client: Any, command: tuple[str, ...]
) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError, match="permissions to run"):
        client.execute_command(*command)


def test_a_user_reads_and_writes_its_own_keys(client: Any, user: str) -> None:
    client.set(_KEYS[user], "value", px=1000)

    assert _READS[user](client, [_KEYS[user]])


@pytest.mark.parametrize("others", [*_KEYS.values(), "trackops:", "anything"])
def test_a_user_is_refused_keys_that_are_not_its_services(
    client: Any, user: str, others: str
) -> None:
    if others == _KEYS[user]:
        others = f"x{others}"

    for keys in ([others], [_KEYS[user], others]):
        with pytest.raises(redis.exceptions.NoPermissionError, match="access one of the keys"):
            _READS[user](client, keys)
    with pytest.raises(redis.exceptions.NoPermissionError, match="access one of the keys"):
        client.set(others, "loot")


@pytest.mark.parametrize("user", ["trackops_order"])
@pytest.mark.parametrize("others", [_KEYS["trackops_identity"], "trackops:", "anything"])
def test_a_script_reaches_no_further_than_its_user(client: Any, others: str) -> None:
    script = client.register_script("return redis.call('GET', KEYS[1])")
    hidden = client.register_script("return redis.call('GET', ARGV[1])")

    with pytest.raises(redis.exceptions.NoPermissionError, match="access one of the keys"):
        script(keys=[others])
    with pytest.raises(redis.exceptions.ResponseError, match="can't access"):
        hidden(args=[others])


def test_nobody_enters_without_a_name_and_its_password(
    redis_server: str, servers: LocalStack, user: str
) -> None:
    server = urlsplit(redis_server)
    without = f"redis://{server.hostname}:{server.port}/0"
    password_of_another = urlsplit(servers.redis.url(next(u for u in _USERS if u != user))).password
    wrong = f"redis://{user}:{password_of_another}@{server.hostname}:{server.port}/0"

    for url in (without, wrong):
        with (
            redis.Redis.from_url(url) as client,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            client.ping()


def test_redis_stores_hashes_and_is_told_them_in_a_file_of_its_owner_alone(
    redis_server: str, servers: LocalStack, user: str
) -> None:
    password = urlsplit(servers.redis.url(user)).password
    users = servers.context.home.data_of("redis") / "users.acl"
    assert password

    assert users.stat().st_mode & 0o077 == 0
    assert password not in users.read_text()
    assert password not in " ".join(servers.redis.command().argv)
