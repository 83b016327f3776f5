"""The order service's adapters on servers, and the service as a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from trackops_cli.local.ports import Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import DatabaseTemplate
from trackops_common.database import Database
from trackops_common.partitions import maintain_outbox, maintain_requests
from trackops_common.testing import TcpLink
from trackops_order.testing import OrderServer, OrderServices

ROLE = "trackops_order"


@pytest.fixture
def schema(database: FreshDatabase) -> Iterator[Database]:
    """The order service's migrated schema, with its partitions."""
    with closing(Database(database.url(ROLE), application_name="test", pool_size=8)) as made:
        maintain_outbox(made)
        maintain_requests(made)
        yield made


@pytest.fixture
def redis_link(redis_url: str) -> Iterator[TcpLink]:
    """The test's own way to an empty Redis."""
    port = urlsplit(redis_url).port
    assert port is not None
    with closing(TcpLink(port)) as link:
        yield link


@pytest.fixture
def linked_redis_url(redis_link: TcpLink, servers: LocalStack) -> str:
    """Redis as the order service's own user, along `redis_link`."""
    url = urlsplit(servers.redis.url(ROLE))
    return url._replace(netloc=url.netloc.replace(f":{url.port}", f":{redis_link.port}")).geturl()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[OrderServices]:
    """Order services of the test's own."""
    with closing(OrderServices(tmp_path, free_port=lambda: Ports.free().order)) as made:
        yield made


@pytest.fixture(scope="session")
def service(
    database_template: DatabaseTemplate,
    redis_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OrderServer]:
    """One order service for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("order")
    with (
        database_template.database() as database,
        closing(OrderServices(folder, free_port=lambda: Ports.free().order)) as made,
    ):
        yield made.serve(database.url(ROLE), redis_server)


@pytest.fixture
def service_rows(service: OrderServer) -> Iterator[Database]:
    """The rows of `service`."""
    with closing(Database(service.database_url, application_name="test", pool_size=2)) as rows:
        yield rows
