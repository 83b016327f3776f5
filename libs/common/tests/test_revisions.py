"""What a service needs, by the names of its files, is what Alembic would bring it to."""

from __future__ import annotations

import pytest

from trackops_cli.local.mesh import ROLES
from trackops_common.migrations import newest_revision
from trackops_common.revisions import needed_revision


@pytest.mark.parametrize("package", ROLES)
def test_the_needed_revision_is_the_newest(package: str) -> None:
    assert needed_revision(package) == newest_revision(package)
