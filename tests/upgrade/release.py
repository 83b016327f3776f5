"""The release before this one: its services' code, run beside ours by the same Python.

It finds its own packages first, by PYTHONPATH; what they depend on is what is installed now.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["NotInClone", "Release", "previous_commit", "unpacked"]

REPOSITORY = Path(__file__).parents[2]
_BEFORE_THE_FIRST = Path(".ci", "previous-release")
"""Names the commit that stands for the previous release while no tag does."""
_CODE = ("libs/stubs", "libs/common", "services")


class NotInClone(Exception):
    """The clone ends before the commit of the previous release."""

    def __init__(self, commit: str) -> None:
        super().__init__(
            f"the previous release, {commit}, is not in this clone: "
            "fetch it, with `git fetch --unshallow --tags` where the clone is shallow"
        )


@dataclass(frozen=True)
class Release:
    """The services' code at one commit, in a folder of its own."""

    commit: str
    folder: Path

    @property
    def sources(self) -> list[Path]:
        """The folders in which its packages lie."""
        services = sorted((self.folder / "services").iterdir())
        return [self.folder / "libs" / "stubs", self.folder / "libs" / "common", *services]

    @property
    def environment(self) -> dict[str, str]:
        """With it, a Python process runs this code instead of the installed one."""
        return {"PYTHONPATH": os.pathsep.join(map(str, self.sources))}

    def migrate(self, role: str, database_url: str) -> None:
        """Bring the role's schema to the newest revision of this release."""
        subprocess.run(
            [sys.executable, "-m", "trackops_common.migrations", role],
            env={**os.environ, **self.environment, "TRACKOPS_DATABASE_URL": database_url},
            check=True,
            capture_output=True,
        )

    def origin(self, package: str) -> Path:
        """Where a process of this release has `package` from."""
        done = subprocess.run(
            [sys.executable, "-c", f"import {package}; print({package}.__path__[0])"],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return Path(done.stdout.strip())


def previous_commit(repository: Path = REPOSITORY) -> str:
    """The newest tag `v*` before the checked out commit; without one, what `.ci` names.

    Raises:
        NotInClone: it names a commit that is not here.
    """
    tag = _git(repository, "describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD^")
    commit = tag or (repository / _BEFORE_THE_FIRST).read_text().strip()
    if _git(repository, "cat-file", "-t", f"{commit}^{{commit}}") != "commit":
        raise NotInClone(commit)
    return commit


@contextmanager
def unpacked(commit: str) -> Iterator[Release]:
    """That commit's code, in a folder that is gone at the end."""
    packed = subprocess.run(
        ["git", "archive", commit, *_CODE], cwd=REPOSITORY, check=True, capture_output=True
    )
    with TemporaryDirectory(prefix="trackops-release-") as name:
        subprocess.run(["tar", "-x", "-C", name], input=packed.stdout, check=True)
        yield Release(commit, Path(name))


def _git(repository: Path, *arguments: str) -> str:
    """What git says; empty where it fails."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
