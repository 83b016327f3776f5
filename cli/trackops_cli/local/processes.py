"""Processes that outlive whoever started them, known by their pid files."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import psutil

from trackops_cli.local.errors import (
    DiskFull,
    Interrupted,
    ServerDied,
    ServerNotReady,
    StackError,
)
from trackops_cli.local.home import Home, write_private
from trackops_cli.local.system_user import as_user

__all__ = ["Command", "ManagedProcess", "ran_out_of_space"]

_SAME_START_SECONDS = 0.1
_POLL_SECONDS = 0.05
_KILL_SECONDS = 5
_LAST_LINES = 3
_LAST_CHARACTERS = 500


@dataclass(frozen=True)
class Command:
    """`environment` is added to this process's own; `user` is a system user (root only)."""

    argv: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None

    @property
    def fingerprint(self) -> str:
        """Equal for commands that would start the same thing."""
        parts = [list(self.argv), sorted(self.environment.items()), self.user]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class _Record:
    """The content of a pid file. The start time tells a process from a later one with its pid."""

    pid: int
    started: float
    fingerprint: str


class ManagedProcess:
    """One process of the stack: at most one runs at a time, whoever started it."""

    def __init__(
        self,
        name: str,
        home: Home,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        abort_signal: signal.Signals = signal.SIGKILL,
        cancelled: Event | None = None,
    ) -> None:
        self.name = name
        self.log = home.log_of(name)
        self._pid_file = home.pid_file_of(name)
        self._stop_signal = stop_signal
        self._abort_signal = abort_signal
        self._cancelled = cancelled or Event()

    @property
    def pid(self) -> int | None:
        """The running process, or None: never started, dead, or its pid is another's by now."""
        record = self._recorded()
        return record.pid if record and self._find(record) else None

    def runs(self, command: Command) -> bool:
        """Whether it runs now and was started by the same command."""
        record = self._recorded()
        return bool(record and self._find(record) and record.fingerprint == command.fingerprint)

    def spawn(self, command: Command) -> None:
        """Starts it in a session of its own, its output going to a new log file."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("wb") as log:
            child = subprocess.Popen(
                command.argv,
                cwd=command.folder,
                env={**os.environ, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(command.user),
            )
        # Reaped as soon as it ends, so that no zombie of ours is taken for a running process.
        Thread(target=child.wait, name=f"reap-{self.name}", daemon=True).start()
        try:
            self._record(child.pid, command)
        except BaseException:
            child.kill()
            raise

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Returns once `ready()`; raises as soon as the process has died, or after `seconds`."""
        deadline = monotonic() + seconds
        while not ready():
            if self.pid is None:
                raise self.death()
            if monotonic() > deadline:
                raise ServerNotReady(self.name, self.log, seconds)
            if self._cancelled.wait(_POLL_SECONDS):
                raise Interrupted(self.name)

    def stop(self, *, grace_seconds: float = 20) -> bool:
        """Ends it if it runs, by force after the grace; returns whether it ran.

        Without a grace it finishes nothing, but lets go of what the system would not take back.
        """
        if grace_seconds > 0:
            return self._end(self._stop_signal, grace_seconds)
        return self._end(self._abort_signal, _KILL_SECONDS)

    def kill(self) -> bool:
        """Ends it as a crash would, with no word to it; returns whether it ran."""
        return self._end(signal.SIGKILL, _KILL_SECONDS)

    def death(self) -> StackError:
        """The error to raise for a process that has ended by itself."""
        if ran_out_of_space(self.log):
            return DiskFull(self.log, self.name)
        return ServerDied(self.name, self.log, _last_words(self.log))

    def _end(self, first: signal.Signals, seconds: float) -> bool:
        record = self._recorded()
        process = self._find(record) if record else None
        if process is not None:
            offspring = _descendants(process)
            _signal(process, first)
            _wait_for_end([process], seconds)
            for survivor in (process, *offspring):
                _signal(survivor, signal.SIGKILL)
            _wait_for_end([process, *offspring], _KILL_SECONDS)
        self._pid_file.unlink(missing_ok=True)
        return process is not None

    def _find(self, record: _Record) -> psutil.Process | None:
        try:
            process = psutil.Process(record.pid)
            same = abs(_started(process) - record.started) < _SAME_START_SECONDS
            return process if same and not _has_ended(process) else None
        except psutil.NoSuchProcess:
            return None

    def _recorded(self) -> _Record | None:
        try:
            return _Record(**json.loads(self._pid_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _record(self, pid: int, command: Command) -> None:
        try:
            started = _started(psutil.Process(pid))
        except psutil.NoSuchProcess:
            started = -1.0  # already gone; wait_until will say so
        record = _Record(pid, started, command.fingerprint)
        write_private(self._pid_file, json.dumps(asdict(record)))


def ran_out_of_space(log: Path) -> bool:
    """Whether a process gave a full disk as its reason."""
    return log.exists() and os.strerror(errno.ENOSPC).encode() in log.read_bytes()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return " / ".join(said[-_LAST_LINES:])[-_LAST_CHARACTERS:]


def _started(process: psutil.Process) -> float:
    """Seconds from boot to the process's start: unlike a date, unmoved when the clock is set."""
    return float(process.create_time() - psutil.boot_time())


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    """Does nothing to a process that has ended, nor to a later one with its pid."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait_for_end(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Returns when all have ended, or after `seconds`."""
    deadline = monotonic() + seconds
    while monotonic() < deadline and not all(map(_has_ended, processes)):
        sleep(_POLL_SECONDS)


def _has_ended(process: psutil.Process) -> bool:
    """A zombie has: who must reap it (pid 1 of a container, say) may take its time.

    While other threads of it are still exiting, it has not: they hold its ports.
    """
    try:
        zombie = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return not process.is_running() or zombie
    except psutil.NoSuchProcess:
        return True


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []
