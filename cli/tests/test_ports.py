import os
import re
import socket

import pytest

from trackops_cli.local.errors import InvalidSetting, PortTaken
from trackops_cli.local.ports import HOST, Ports


def test_a_port_is_overridden_by_its_variable_alone() -> None:
    ports = Ports.from_environment({"TRACKOPS_PORT_SAGA_ORCHESTRATOR": "7052"})

    assert ports == Ports(saga_orchestrator=7052)


@pytest.mark.parametrize("value", ["", "0", "65536", "-1", "http"])
def test_a_wrong_port_is_refused_by_the_name_of_its_variable(value: str) -> None:
    with pytest.raises(InvalidSetting, match="TRACKOPS_PORT_ORDER"):
        Ports.from_environment({"TRACKOPS_PORT_ORDER": value})


def test_free_ports_differ_and_can_be_had() -> None:
    ports = Ports.free()
    chosen = list(vars(ports).values())

    assert len(set(chosen)) == len(chosen)
    for field in vars(ports):
        ports.claim(field).check()


def test_no_worker_is_given_a_port_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "400")  # so that each has few
    given: dict[str, set[int]] = {}
    for worker in ("gw0", "gw1", "gw399"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        given[worker] = {port for _ in range(10) for port in vars(Ports.free()).values()}

    assert sum(map(len, given.values())) == len(set().union(*given.values()))
    assert all(len(ports) <= 30 for ports in given.values())


def test_a_taken_port_names_port_owner_variable_and_holder() -> None:
    with socket.create_server((HOST, 0)) as listening:
        claim = Ports(redis=listening.getsockname()[1]).claim("redis")
        expected = rf"port {claim.port}, wanted by redis, .*pid {os.getpid()}.*TRACKOPS_PORT_REDIS"

        with pytest.raises(PortTaken, match=expected) as caught:
            claim.check()

    assert not re.search(r"\n", str(caught.value))


def test_a_listener_on_every_address_counts_too() -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as listening,  # noqa: S104 - what is tested
        pytest.raises(PortTaken),
    ):
        Ports(redis=listening.getsockname()[1]).claim("redis").check()
