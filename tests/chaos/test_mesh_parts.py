"""The parts of the chaos: schedules that repeat, ways that break, variants that still apply."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trackops_cli.testing import wait_for

from .mesh.broken import CLOCK_AHEAD, VARIANTS, Replacement, TextGone, patched
from .mesh.faults import Window, Windows
from .mesh.proxy import Way, Ways
from .mesh.schedule import KINDS, Planned, schedule


@pytest.fixture
def way() -> Iterator[Way]:
    """To a server that says everything back."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Ways() as ways:
        threading.Thread(target=_echo, args=[listener], daemon=True).start()
        yield ways.to(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _echo(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_say_back, args=[client], daemon=True).start()


def _say_back(client: socket.socket) -> None:
    with client, suppress(OSError):
        while data := client.recv(1_000):
            client.sendall(data)


def connected(way: Way) -> socket.socket:
    return socket.create_connection(("127.0.0.1", way.port), timeout=10)


def said_back(client: socket.socket, words: bytes) -> bytes:
    """What comes back, up to the end of the connection."""
    found = b""
    with suppress(OSError):
        client.sendall(words)
        while len(found) < len(words) and (data := client.recv(1_000)):
            found += data
    return found


def test_a_way_that_is_whole_changes_nothing(way: Way) -> None:
    with connected(way) as client:
        assert said_back(client, b"a" * 5_000) == b"a" * 5_000


def test_a_cut_ends_a_connection_within_a_message_and_leaves_new_ones_alone(way: Way) -> None:
    with connected(way) as client, connected(way) as later:
        assert said_back(client, b"hello") == b"hello"
        way.cut()
        assert len(said_back(client, b"a" * 500)) < 500
        del later
    with connected(way) as client:
        assert said_back(client, b"hello") == b"hello"


def test_a_way_that_refuses_ends_what_is_there_and_what_comes_until_it_is_restored(
    way: Way,
) -> None:
    with connected(way) as client:
        assert said_back(client, b"hello") == b"hello"
        way.refuse()
        wait_for(lambda: said_back(client, b"hello") == b"", what="the end")
    with connected(way) as client:
        assert said_back(client, b"hello") == b""
    way.restore()
    with connected(way) as client:
        assert said_back(client, b"hello") == b"hello"


def test_a_seed_is_a_schedule() -> None:
    assert schedule(3, 120) == schedule(3, 120)
    assert schedule(3, 120) != schedule(4, 120)


def test_a_schedule_has_every_kind_and_ends_with_the_load() -> None:
    planned = schedule(5, 300)

    assert {one.kind for one in planned} == set(KINDS)
    assert all(one.at + one.seconds <= 300 for one in planned)
    assert [one.at for one in planned] == sorted(one.at for one in planned)


def test_a_window_excuses_what_follows_for_a_while_only() -> None:
    windows = Windows([Window(Planned(0, "flush", "redis", 0), began=100, ended=110)])

    excused = [windows.cover(at, settle_seconds=5) for at in (90, 105, 114, 116)]
    assert excused == [False, True, True, False]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_variant_still_finds_what_it_takes_out(tmp_path: Path, variant: object) -> None:
    found = next(one for one in VARIANTS if one is variant)

    folder = patched(tmp_path / "code", found.replacements)

    for one in found.replacements:
        assert one.new in (folder / one.file).read_text()
        compile((folder / one.file).read_text(), one.file, "exec")


def test_a_clock_is_set_ahead(tmp_path: Path) -> None:
    folder = patched(tmp_path / "code", [CLOCK_AHEAD])

    assert "+ 20" in (folder / CLOCK_AHEAD.file).read_text()


def test_a_replacement_whose_text_is_gone_fails(tmp_path: Path) -> None:
    gone = Replacement("trackops_common/clock.py", "no such text", "")

    with pytest.raises(TextGone, match="0 times"):
        patched(tmp_path / "code", [gone])
