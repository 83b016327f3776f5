"""The release before this one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .release import Release, previous_commit, unpacked


@pytest.fixture(scope="session")
def previous() -> Iterator[Release]:
    """Its code."""
    with unpacked(previous_commit()) as release:
        yield release
