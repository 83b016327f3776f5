"""`trackops outbox …` against a relay as a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trackops_cli.local.mesh import is_serving
from trackops_cli.local.ports import Ports
from trackops_cli.main import app
from trackops_cli.testing import command_environment, wait_for
from trackops_outbox_relay.testing import RelayBench

ORDER = "trackops_order"


Run = Callable[..., Result]
"""`trackops outbox` with these words."""


@pytest.fixture
def run(bench: RelayBench, tmp_path: Path) -> Iterator[Run]:
    """The command, told of a relay; one key of its order outbox waits."""
    environment = command_environment(tmp_path / "home")
    target = f"127.0.0.1:{Ports.free().outbox_relay}"
    bench.write(ORDER, 1, key="order-1", topic="trackops.order.events.v9")
    bench.write(ORDER, 2, key="order-1")
    with bench.process(tmp_path / "log", {"TRACKOPS_LISTEN": target}):
        wait_for(lambda: is_serving(target), seconds=60)
        wait_for(lambda: '"UNKNOWN_TOPIC"' in (tmp_path / "log").read_text(), seconds=60)
        yield lambda *words: CliRunner().invoke(
            app, ["outbox", *words, "--relay", target], env={**environment, "TERM": "dumb"}
        )


def test_an_operator_sees_and_settles_what_waits(run: Run, bench: RelayBench) -> None:
    listed = run("list")
    assert listed.exit_code == 0, listed.output
    assert ORDER in listed.stdout
    waits = run("quarantine", ORDER)
    assert "order-1" in waits.stdout
    assert "unknown topic" in waits.stdout

    in_vain = run("replay", ORDER, "order-1", "--reason", "is it there?")
    assert in_vain.exit_code == 1
    assert "there is no topic trackops.order.events.v9" in in_vain.stderr

    given_up = run("discard", ORDER, "order-1", "--through-seq", "1", "--reason", "never made")
    assert given_up.stderr == "trackops: gave up 1 rows of order-1, published 2\n"
    assert len(bench.published(ORDER)) == 2
    assert "order-1" not in run("quarantine", ORDER).stdout

    audit = run("audit", ORDER)
    assert "never made" in audit.stdout
    assert "is it there?" in audit.stdout


def test_a_rebase_shows_first_and_needs_a_reason_to_act(run: Run) -> None:
    shown = run("rebase", ORDER)
    assert shown.exit_code == 0, shown.output
    assert "nothing was changed" in shown.stderr
    assert run("rebase", ORDER, "--apply").exit_code == 2
    refused = run("rebase", ORDER, "--apply", "--reason", "to be sure")
    assert refused.exit_code == 1
    assert "does not stand still" in refused.stderr


def test_an_unknown_source_is_one_line(run: Run) -> None:
    result = run("quarantine", "elsewhere")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
