"""Kafka's jars: named with their SHA-256 in `kafka.lock`, fetched once into the Maven cache."""

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.maven import Artifact, MavenContext

from trackops_cli.local.errors import JarUnavailable

__all__ = ["JarSet", "LockedJar", "read_lock"]

_LOCK = Path(__file__).with_name("kafka.lock")
_TIMEOUT_SECONDS = 60
_DOWNLOADS = 8


@dataclass(frozen=True)
class LockedJar:
    """`coordinate` is group:artifact:version."""

    coordinate: str
    sha256: str


class JarSet:
    """The jars of a lock in the local Maven cache (M2_REPO, or ~/.m2/repository)."""

    def __init__(self, jars: Sequence[LockedJar], maven: MavenContext | None = None) -> None:
        self._jars = jars
        self._maven = maven or MavenContext(timeout=_TIMEOUT_SECONDS)

    @property
    def classpath(self) -> str:
        return ":".join(str(self._path(jar)) for jar in self._jars)

    def fetch(self, progress: Callable[[str], None]) -> None:
        """Downloads what is missing or damaged; raises JarUnavailable.

        Stacks that start at the same time wait for each other, so none reads a half-written jar.
        """
        if not self._missing():
            return
        with self._alone():
            missing = self._missing()
            if missing:
                progress(f"kafka: fetching {len(missing)} jars from Maven Central (once)")
            with ThreadPoolExecutor(_DOWNLOADS) as pool:
                list(pool.map(self._download, missing))

    def _missing(self) -> list[LockedJar]:
        return [jar for jar in self._jars if not _intact(self._path(jar), jar)]

    def _download(self, jar: LockedJar) -> None:
        path = self._path(jar)
        path.unlink(missing_ok=True)
        try:
            self._artifact(jar).resolve()
        except (requests.RequestException, RuntimeError) as error:
            raise JarUnavailable(jar.coordinate, type(error).__name__) from error
        if not _intact(path, jar):
            path.unlink(missing_ok=True)
            raise JarUnavailable(jar.coordinate, "its SHA-256 is not the locked one")

    def _artifact(self, jar: LockedJar) -> Artifact:
        return self._maven.create_dependency(jar.coordinate).artifact

    def _path(self, jar: LockedJar) -> Path:
        group, name, version = jar.coordinate.split(":")
        folder = self._maven.repo_cache.joinpath(*group.split("."), name, version)
        return folder / f"{name}-{version}.jar"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._maven.repo_cache.mkdir(parents=True, exist_ok=True)
        with (self._maven.repo_cache / ".trackops.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def read_lock(lock: Path = _LOCK) -> tuple[LockedJar, ...]:
    lines = (line for line in lock.read_text().splitlines() if not line.startswith("#"))
    return tuple(LockedJar(*line.split()) for line in lines)


def _intact(path: Path, jar: LockedJar) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
