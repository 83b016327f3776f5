"""Fixtures of the whole service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from .service_world import World, service_world


@pytest.fixture
async def world(database: Any, kafka: Any) -> AsyncIterator[World]:
    async with service_world(database, kafka) as made:
        yield made
