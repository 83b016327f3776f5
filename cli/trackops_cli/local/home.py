"""The state directory: data, logs, pid files and passwords of one local stack."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trackops_cli.local.errors import DiskFull

__all__ = ["Home"]

_REPOSITORY = Path(__file__).resolve().parents[3]
_ENOUGH_BYTES = 500_000_000


@dataclass(frozen=True)
class Home:
    """Everything the stack writes lies below `root`, except Kafka's jars (the Maven cache)."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Home":
        """TRACKOPS_HOME, or `.trackops` in the repository."""
        chosen = environment.get("TRACKOPS_HOME")
        return cls(Path(chosen).resolve() if chosen else _default_root())

    @property
    def secrets_file(self) -> Path:
        return self.root / "passwords.json"

    @property
    def credentials_file(self) -> Path:
        """Tokens for this stack."""
        return self.root / "credentials.json"

    @property
    def logs(self) -> Path:
        return _folder(self.root / "logs")

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def pid_file_of(self, name: str) -> Path:
        return _folder(self.root / "run") / f"{name}.json"

    def data_of(self, name: str) -> Path:
        """A server's own folder, made if missing."""
        return _folder(self.root / "data" / name)

    def passwords(self, names: Iterable[str]) -> dict[str, str]:
        """One random password per name, the same on every call; kept with mode 0600."""
        known: dict[str, str] = {}
        if self.secrets_file.exists():
            known = json.loads(self.secrets_file.read_text())
        missing = [name for name in names if name not in known]
        if missing:
            known |= {name: secrets.token_urlsafe(24) for name in missing}
            write_private(self.secrets_file, json.dumps(known, indent=2))
        return known

    def known_password(self, name: str) -> str:
        """The password of that name; empty where none was made, and none is."""
        if not self.secrets_file.exists():
            return ""
        known: dict[str, str] = json.loads(self.secrets_file.read_text())
        return known.get(name, "")

    def check_space(self) -> None:
        """Raises DiskFull when the servers would hardly have room to start."""
        free = shutil.disk_usage(_folder(self.root)).free
        if free < _ENOUGH_BYTES:
            detail = f"{free // 10**6} MB free, {_ENOUGH_BYTES // 10**6} MB needed"
            raise DiskFull(self.root, detail)

    @contextmanager
    def alone(self, progress: Callable[[str], None]) -> Iterator[None]:
        """Lets one command at a time change this stack; the others wait."""
        with (_folder(self.root) / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another trackops command to end")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def erase(self) -> None:
        """Removes what the stack wrote and nothing else that may lie in the same folder."""
        for folder in ("data", "logs", "run"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        for file in (self.secrets_file, self.credentials_file):
            file.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replaces `path` in one step by a file that only its owner can read."""
    _folder(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _default_root() -> Path:
    in_repository = (_REPOSITORY / "protos").is_dir()
    return (_REPOSITORY if in_repository else Path.cwd()) / ".trackops"
