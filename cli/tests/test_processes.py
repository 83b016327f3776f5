import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import psutil
import pytest

from trackops_cli.local.errors import DiskFull, Interrupted, ServerDied, ServerNotReady
from trackops_cli.local.home import Home
from trackops_cli.local.processes import Command, ManagedProcess
from trackops_cli.testing import wait_for

_RUN_ON = "import signal; print('started', flush=True); signal.pause()"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def server(home: Home) -> Iterator[ManagedProcess]:
    process = ManagedProcess("server", home)
    yield process
    process.stop(grace_seconds=0)


def _python(code: str, folder: Path, **environment: str) -> Command:
    return Command([sys.executable, "-c", code], folder=folder, environment=environment)


def _alter_pid_file(home: Home, **changes: float) -> None:
    path = home.pid_file_of("server")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_who_comes_later_recognises_and_stops_it(server: ManagedProcess, home: Home) -> None:
    command = _python(_RUN_ON, home.root)
    server.spawn(command)
    later = ManagedProcess("server", home)

    assert later.pid == server.pid
    assert later.runs(command)
    assert later.stop()
    assert server.pid is None
    assert not later.stop()


def test_another_command_is_not_taken_for_the_same(server: ManagedProcess, home: Home) -> None:
    server.spawn(_python(_RUN_ON, home.root, TRACKOPS_LISTEN="a"))

    assert not server.runs(_python(_RUN_ON, home.root, TRACKOPS_LISTEN="b"))


def test_a_recycled_pid_is_never_killed(server: ManagedProcess, home: Home) -> None:
    server.spawn(_python(_RUN_ON, home.root))
    stranger = psutil.Process(server.pid)
    _alter_pid_file(home, started=1.0)

    try:
        assert server.pid is None
        assert not server.stop()
        assert stranger.is_running()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_pid_file_of_a_dead_process_means_it_does_not_run(
    server: ManagedProcess, home: Home
) -> None:
    server.spawn(_python(_RUN_ON, home.root))
    pid = server.pid
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    wait_for(lambda: server.pid is None, what="the killed process is seen as dead")


@pytest.mark.parametrize("content", ["", "{}", '{"pid": 1}', "[]"])
def test_a_damaged_pid_file_means_it_does_not_run(
    server: ManagedProcess, home: Home, content: str
) -> None:
    home.pid_file_of("server").write_text(content)

    assert server.pid is None


def test_death_is_noticed_at_once_and_names_the_log(server: ManagedProcess, home: Home) -> None:
    server.spawn(_python("raise SystemExit('no such setting')", home.root))
    begin = monotonic()

    with pytest.raises(ServerDied, match=rf"server died .*\(no such setting\).*{server.log}"):
        server.wait_until(lambda: False, seconds=60)

    assert monotonic() - begin < 30
    assert "no such setting" in server.log.read_text()


def test_death_of_a_full_disk_says_so(server: ManagedProcess, home: Home) -> None:
    server.spawn(_python("raise OSError(28, 'No space left on device')", home.root))

    with pytest.raises(DiskFull):
        server.wait_until(lambda: False, seconds=60)


def test_one_that_never_answers_is_given_up(server: ManagedProcess, home: Home) -> None:
    server.spawn(_python(_RUN_ON, home.root))

    with pytest.raises(ServerNotReady, match="server was not ready"):
        server.wait_until(lambda: False, seconds=0.1)


def test_waiting_ends_when_the_stack_gives_up(home: Home) -> None:
    cancelled = Event()
    server = ManagedProcess("server", home, cancelled=cancelled)
    server.spawn(_python(_RUN_ON, home.root))
    cancelled.set()

    try:
        with pytest.raises(Interrupted):
            server.wait_until(lambda: False, seconds=60)
    finally:
        server.stop(grace_seconds=0)


def test_one_that_ignores_the_signal_is_killed_after_the_grace(
    server: ManagedProcess, home: Home
) -> None:
    server.spawn(_python("import signal; signal.signal(15, signal.SIG_IGN); " + _RUN_ON, home.root))
    server.wait_until(lambda: "started" in server.log.read_text(), seconds=30)

    assert server.stop(grace_seconds=0.2)
    assert server.pid is None


def test_its_children_do_not_outlive_it(server: ManagedProcess, home: Home) -> None:
    parent = (
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {_RUN_ON!r}]); "
        "print(child.pid, flush=True); child.wait()"
    )
    server.spawn(_python(parent, home.root))
    server.wait_until(lambda: "started" in server.log.read_text(), seconds=30)
    child = int(server.log.read_text().split()[0])

    server.stop(grace_seconds=0)

    wait_for(lambda: not psutil.pid_exists(child) or _is_zombie(child), what="the child is gone")


def test_it_outlives_the_process_that_started_it(server: ManagedProcess, home: Home) -> None:
    starter = (
        "from pathlib import Path\n"
        "from trackops_cli.local.home import Home\n"
        "from trackops_cli.local.processes import Command, ManagedProcess\n"
        f"home = Home(Path({str(home.root)!r}))\n"
        f"command = Command({[sys.executable, '-c', _RUN_ON]!r}, folder=home.root)\n"
        "ManagedProcess('server', home).spawn(command)\n"
    )

    subprocess.run([sys.executable, "-c", starter], check=True)

    server.wait_until(lambda: "started" in server.log.read_text(), seconds=30)
    assert server.pid is not None


def test_a_new_start_keeps_the_log_of_the_last_one(server: ManagedProcess, home: Home) -> None:
    server.spawn(_python(_RUN_ON, home.root))
    server.wait_until(lambda: "started" in server.log.read_text(), seconds=30)
    server.stop()

    server.spawn(_python("", home.root))

    assert "started" in server.log.with_suffix(".log.1").read_text()


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
