"""The numbers of the running mesh are those that docs/metrics.md lists."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.local.mesh import SERVICES
from trackops_cli.testing import Mesh, wait_for
from trackops_common.testing_http import get_blocking, scrape
from trackops_common.testing_tokens import authorized_channel
from trackops_common.topics import ORDER_EVENTS
from trackops_order.testing import create_request

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
NAMES = [spec.name for spec in SERVICES]


def test_every_metric_is_documented_and_every_documented_one_is_there(mesh: Mesh) -> None:
    documented = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)

    shown = {
        name
        for service in NAMES
        for name in re.findall(
            r"^# TYPE (\w+) ", get_blocking(mesh.http(service), "/metrics")[1], re.MULTILINE
        )
    }

    assert len(documented) == len(set(documented))
    assert set(documented) == shown


@pytest.mark.parametrize("service", NAMES)
def test_every_service_lives_and_is_ready(mesh: Mesh, service: str) -> None:
    assert get_blocking(mesh.http(service), "/healthz/live") == (200, "live\n")
    status, text = get_blocking(mesh.http(service), "/healthz/ready?verbose")
    assert (status, text.splitlines()[:2]) == (200, ["ready", "Postgres: there"])
    assert get_blocking(mesh.http(service), "/elsewhere")[0] == 404


def test_an_order_leaves_its_numbers_along_its_way(mesh: Mesh) -> None:
    def numbers_of(service: str, name: str, **labels: str) -> list[float]:
        """Of the series that have these labels, among others."""
        wanted = {f"{label}={value}" for label, value in labels.items()}
        found = scrape(mesh.http(service)).items()
        return [number for (of, has), number in found if of == name and wanted <= has]

    def finished() -> float:
        name = "trackops_sagas_finished_total"
        return sum(numbers_of("saga_orchestrator", name, definition="place-order"))

    before = finished()
    with authorized_channel(mesh.target("order"), mesh.token) as channel:
        OrderServiceStub(channel).CreateOrder(create_request(), timeout=10)
    wait_for(lambda: finished() > before, what="a finished saga")

    lag = "trackops_inbox_lag_messages"
    wait_for(
        lambda: set(numbers_of("saga_orchestrator", lag, topic=ORDER_EVENTS.name)) == {0},
        what="no lag, the marker of the order's transaction notwithstanding",
    )
    group = "trackops_saga_orchestrator"
    (letters,) = numbers_of("saga_orchestrator", "trackops_dead_letters", group=group)
    assert letters >= 0  # other tests of the mesh leave some
    circuit = numbers_of(
        "saga_orchestrator", "trackops_circuit_state", dependency="inventory", state="CLOSED"
    )
    assert circuit == [1]
    for way in ("received", "sent"):
        (count,) = numbers_of("order", f"grpc_server_{way}_bytes_total", grpc_method="CreateOrder")
        assert count > 0
    published = numbers_of(
        "outbox_relay", "trackops_relay_publish_seconds_count", source="trackops_order"
    )
    assert published[0] >= 1
    for name in ("outbox_rows_behind", "outbox_oldest_seconds", "relay_quarantined_keys"):
        at_rest = partial(numbers_of, "outbox_relay", f"trackops_{name}", source="trackops_order")
        wait_for(partial(_is_zero, at_rest), what=name)


def _is_zero(read: Callable[[], list[float]]) -> bool:
    return read() == [0]
