"""The whole mesh as processes."""

import psutil

from trackops_cli.local.mesh import PAGE_TOKEN_KEY, SERVICES, is_serving
from trackops_cli.testing import Mesh


def test_every_service_is_serving(mesh: Mesh) -> None:
    assert [spec.name for spec in SERVICES if not is_serving(mesh.target(spec.name))] == []


def test_page_tokens_have_a_key_that_is_kept(mesh: Mesh) -> None:
    kept = mesh.stack.passwords([PAGE_TOKEN_KEY])[PAGE_TOKEN_KEY]

    assert len(kept) >= 32
    assert mesh.addresses.settings["TRACKOPS_PAGE_TOKEN_KEY"] == kept


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
