"""The identity service on a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from trackops_cli.testing import Database
from trackops_common.testing import serving
from trackops_identity.bootstrap import IdentitySettings, bootstrap

from .identity_calls import Start, cheap_settings


@pytest.fixture
def start(database: Database) -> Start:
    """Starts the service with these settings, as often as wanted, on one database."""

    @asynccontextmanager
    async def starting(**settings: Any) -> AsyncIterator[Any]:
        configured = IdentitySettings(**{**cheap_settings(database), **settings})
        async with bootstrap(configured) as application, serving(application) as channel:
            yield IdentityServiceStub(channel)

    return starting


@pytest.fixture
async def stub(start: Start) -> AsyncIterator[Any]:
    async with start() as one:
        yield one
