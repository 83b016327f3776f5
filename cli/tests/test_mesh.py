"""The whole mesh as processes."""

import json
from urllib.request import urlopen

import psutil
import pytest

from trackops_cli.local.mesh import SECRETS, SERVICES, is_serving
from trackops_cli.testing import Mesh


def test_every_service_is_serving(mesh: Mesh) -> None:
    assert [spec.name for spec in SERVICES if not is_serving(mesh.target(spec.name))] == []


@pytest.mark.parametrize(("setting", "name"), SECRETS.items())
def test_a_secret_is_kept_and_handed_over(mesh: Mesh, setting: str, name: str) -> None:
    kept = mesh.stack.passwords([name])[name]

    assert len(kept) >= 32
    assert mesh.addresses.settings[setting] == kept


def test_the_key_set_is_shown_over_http(mesh: Mesh) -> None:
    with urlopen(f"http://{mesh.http('identity')}/.well-known/jwks.json") as answer:
        (key,) = json.load(answer)["keys"]
        assert answer.headers["cache-control"] == "public, max-age=300"
    assert (key["alg"], key["crv"]) == ("EdDSA", "Ed25519")


def test_up_again_leaves_everything_running(mesh: Mesh) -> None:
    before = {part.name: part.pid for part in mesh.stack.status()}

    mesh.stack.up()

    assert {part.name: part.pid for part in mesh.stack.status()} == before


def test_a_killed_service_is_brought_back_alone(mesh: Mesh) -> None:
    before = {part.name: part.pid for part in mesh.stack.status()}
    psutil.Process(before["payment"]).kill()

    mesh.stack.up()

    after = {part.name: part.pid for part in mesh.stack.status()}
    assert {name for name in after if after[name] != before[name]} == {"payment"}
    assert is_serving(mesh.target("payment"))
