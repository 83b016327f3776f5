"""What the chart tells a service, what the service reads and what is documented are one thing."""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import ValidationError

from trackops_cli.local.mesh import SERVICES
from trackops_common.setting_names import PREFIX
from trackops_common.settings import ServiceSettings
from trackops_identity.bootstrap import IdentitySettings
from trackops_inventory.bootstrap import InventorySettings
from trackops_order.bootstrap import OrderSettings
from trackops_outbox_relay.settings import RelaySettings
from trackops_payment.settings import PaymentSettings
from trackops_saga_orchestrator.bootstrap import SagaSettings

from .chart import SCENARIOS, containers, environment, named, scenario

_SETTINGS: dict[str, type[ServiceSettings]] = {
    "order": OrderSettings,
    "saga-orchestrator": SagaSettings,
    "outbox-relay": RelaySettings,
    "inventory": InventorySettings,
    "payment": PaymentSettings,
    "identity": IdentitySettings,
}
_NOT_OF_A_SERVICE = re.compile(
    rf"{PREFIX}(SECRETS_DIR|HOME|PORT_[A-Z_]+|SAGA_ORCHESTRATOR_TARGET|(MODEL|CHAOS)_[A-Z]+)"
)
"""Where secrets are read from; what the command, the local mesh and tests are told."""
_DOCS = Path(__file__).parents[2] / "docs"
_SECRET = "s" * 32


def _variables(values: str, service: str) -> dict[str, Any]:
    deployment = named(scenario(values), "Deployment", f"trackops-{service}")
    (container,) = containers(deployment)
    return environment(container)


_EVERY_PAIR = list(product(sorted(SCENARIOS), _SETTINGS))


@pytest.mark.parametrize(("values", "service"), _EVERY_PAIR)
def test_the_service_reads_whatever_it_is_told(values: str, service: str) -> None:
    known = {PREFIX + name.upper() for name in _SETTINGS[service].model_fields}
    told = {name for name in _variables(values, service) if name.startswith(PREFIX)}
    assert told - known == set()


@pytest.mark.parametrize(("values", "service"), _EVERY_PAIR)
def test_what_it_is_told_is_enough_to_start_with(values: str, service: str, tmp_path: Path) -> None:
    """Values from Secrets stand in, and files that are mounted exist."""
    file = tmp_path / "ca.pem"
    file.touch()
    told = {
        name: _stand_in(name, value, file)
        for name, value in _variables(values, service).items()
        if name.startswith(PREFIX)
    }
    with patch.dict(os.environ, told, clear=True):
        try:
            _SETTINGS[service]()  # type: ignore[call-arg]
        except ValidationError as error:
            pytest.fail(str(error))


def _stand_in(name: str, value: str | dict[str, Any], file: Path) -> str:
    if name.endswith("_CA_FILE"):
        return str(file)
    if isinstance(value, str):
        return value
    if name.endswith("_URL"):
        return "scheme://user:password@host:1/name"
    return "7" if name == "TRACKOPS_RELAY_BATCH_ROWS" else _SECRET


@pytest.mark.parametrize("service", _SETTINGS)
def test_it_is_told_what_the_local_mesh_tells_it(service: str) -> None:
    (local,) = (spec for spec in SERVICES if spec.certified_name == service)
    only_there = {"TRACKOPS_DEVELOPMENT_SECRET", "TRACKOPS_TRUSTED_PROXIES"}
    assert set(local.settings) - only_there <= set(_variables("minimal", service))


def test_the_documentation_names_only_settings_that_exist() -> None:
    known = {PREFIX + name.upper() for cls in _SETTINGS.values() for name in cls.model_fields}
    unknown = {
        f"{page.name}: {name}"
        for page in [*_DOCS.rglob("*.md"), _DOCS.parent / "README.md"]
        for name in re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b", page.read_text())
        if name not in known and not _NOT_OF_A_SERVICE.fullmatch(name)
    }
    assert unknown == set()
