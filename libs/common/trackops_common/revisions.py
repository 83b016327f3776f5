"""Which revision of its schema a service's code was written for, told without Alembic."""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["needed_revision"]

_MIGRATION = re.compile(r"(\d{4})_\w+\.py")


def needed_revision(package: str) -> str:
    """The newest of `package`'s migrations, by the names of their files: `0008` of `0008_x.py`.

    Later ones are expanded from it and do no harm; see docs/upgrades.md.
    """
    folder = files(package) / "migrations" / "versions"
    found = (_MIGRATION.fullmatch(file.name) for file in folder.iterdir())
    return max(match[1] for match in found if match)
