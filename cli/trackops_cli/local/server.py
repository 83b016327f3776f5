"""What Postgres, Redis, Kafka and the services have in common when they are started."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from threading import Event
from typing import ClassVar

from trackops_cli.local.errors import CommandFailed, DiskFull, Interrupted, StackError
from trackops_cli.local.home import Home
from trackops_cli.local.ports import Claim, Ports
from trackops_cli.local.processes import Command, ManagedProcess, ran_out_of_space
from trackops_cli.local.system_user import as_user

__all__ = ["Context", "Progress", "Server", "package_folder", "run_to_end", "together"]

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Context:
    """What every part of one stack is given. `cancelled` ends all waiting at once."""

    home: Home
    ports: Ports
    progress: Progress
    cancelled: Event = field(default_factory=Event)


class Server(ABC):
    """A process that listens. Starting one that already runs the same command changes nothing."""

    stop_signal: ClassVar[Signals] = SIGTERM
    abort_signal: ClassVar[Signals] = SIGKILL
    ready_seconds: ClassVar[float] = 60

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self.context = context
        self.process = ManagedProcess(
            name,
            context.home,
            stop_signal=self.stop_signal,
            abort_signal=self.abort_signal,
            cancelled=context.cancelled,
        )

    @abstractmethod
    def command(self) -> Command:
        """What starts it; without side effects."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers as it should, asked once."""

    def claims(self) -> Sequence[Claim]:
        return [self.context.ports.claim(self.name)]

    def prepare(self) -> None:  # noqa: B027
        """Whatever must be there before the command runs."""

    def check_ports(self) -> None:
        """Raises PortTaken unless it runs already or may have its ports."""
        if self.process.pid is None:
            for claim in self.claims():
                claim.check()

    def start(self) -> None:
        """Returns when it is ready. A dead one is started again, one of another command replaced.

        Raises a StackError that names it.
        """
        if not self.process.runs(self.command()):
            self.process.stop()
            self.check_ports()
            self.prepare()
            self.process.spawn(self.command())
        self.process.wait_until(self.is_ready, seconds=self.ready_seconds)

    def stop(self, *, grace_seconds: float = 20) -> bool:
        """Returns whether it ran; its data stays."""
        return self.process.stop(grace_seconds=grace_seconds)


def together(cancelled: Event, *tasks: Callable[[], object]) -> None:
    """Runs the tasks side by side; when one fails the others stop waiting.

    Raises the error of the one that failed first.
    """
    cancelled.clear()
    with ThreadPoolExecutor(max_workers=max(len(tasks), 1)) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and not future.exception() for future in futures):
                cancelled.set()
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise next((error for error in errors if not isinstance(error, Interrupted)), errors[0])


def run_to_end(what: str, command: Command, log: Path) -> None:
    """Runs a preparing command; raises CommandFailed or DiskFull, its output being in `log`."""
    with log.open("wb") as output:
        result = subprocess.run(
            command.argv,
            cwd=command.folder,
            env=None if not command.environment else dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **as_user(command.user),
        )
    if result.returncode != 0:
        raise DiskFull(log, what) if ran_out_of_space(log) else CommandFailed(what, log)


def package_folder(package: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"the package {package} is not installed; run scripts/venv.sh")
    return Path(spec.submodule_search_locations[0])
