"""Which release comes before this one, and that a process of it runs its code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trackops_cli.local.mesh import ROLES

from .release import NotInClone, Release, previous_commit


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, the first of which is named in `.ci`."""
    _git(tmp_path, "init", "--quiet")
    _commit(tmp_path)
    _commit(tmp_path)
    named = tmp_path / ".ci" / "previous-release"
    named.parent.mkdir()
    named.write_text(_git(tmp_path, "rev-parse", "HEAD^"))
    return tmp_path


def _git(repository: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    command = ["git", *who, "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _commit(repository: Path) -> None:
    _git(repository, "commit", "--quiet", "--allow-empty", "--message", "one")


def test_before_the_first_tag_it_is_the_commit_that_is_named(repository: Path) -> None:
    assert previous_commit(repository) == _git(repository, "rev-parse", "HEAD^").strip()


def test_it_is_the_newest_tag_before_this_commit(repository: Path) -> None:
    _git(repository, "tag", "v0.1.0", "HEAD^")
    _git(repository, "tag", "v0.2.0", "HEAD")

    assert previous_commit(repository) == "v0.1.0"
    _commit(repository)
    assert previous_commit(repository) == "v0.2.0"


def test_a_clone_without_it_says_so(repository: Path) -> None:
    missing = "0123456789" * 4
    (repository / ".ci" / "previous-release").write_text(missing)

    with pytest.raises(NotInClone, match=f"{missing}, is not in this clone"):
        previous_commit(repository)


def test_its_processes_run_its_own_code(previous: Release) -> None:
    for package in (*ROLES, "trackops_common", "trackops"):
        assert previous.origin(package).is_relative_to(previous.folder)
