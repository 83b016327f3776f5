"""What each service may do in Redis: which commands, on which keys."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["REDIS_ADMIN", "REDIS_USERS", "RedisUser", "acl_file"]

REDIS_ADMIN = "trackops_redis_admin"
"""For people and tests; no service knows its password."""


@dataclass(frozen=True)
class RedisUser:
    """`keys` is a glob pattern; `commands` are those of its scripts too."""

    name: str
    keys: str
    commands: tuple[str, ...]


_SCRIPTED = ("eval", "evalsha", "script|load")

REDIS_USERS = (
    RedisUser(
        "trackops_order",
        keys="trackops:order:*",
        commands=("ping", "mget", "get", "set", "incr", *_SCRIPTED),
    ),
    RedisUser(
        "trackops_identity",
        keys="trackops:identity:*",
        commands=("ping", "exists", "set"),
    ),
)


def acl_file(passwords: Mapping[str, str]) -> str:
    """The content of Redis's `aclfile`, with a hash of each password; nobody enters without one."""
    lines = ["user default off nopass nocommands"]
    lines += [
        f"user {user.name} on #{_hash(passwords[user.name])} resetchannels ~{user.keys} nocommands "
        + " ".join(f"+{command}" for command in user.commands)
        for user in REDIS_USERS
    ]
    lines.append(f"user {REDIS_ADMIN} on #{_hash(passwords[REDIS_ADMIN])} ~* &* +@all")
    return "\n".join(lines) + "\n"


def _hash(password: str) -> str:
    """Unsalted, as Redis has it: enough for random passwords of 192 bits."""
    return hashlib.sha256(password.encode()).hexdigest()
