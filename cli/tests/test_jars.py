import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from jgo.maven import MavenContext

from trackops_cli.local.errors import JarUnavailable
from trackops_cli.local.jars import JarSet, LockedJar, read_lock

_CONTENT = b"a jar"
_JAR = LockedJar("org.example:thing:1.0", hashlib.sha256(_CONTENT).hexdigest())
_PATH = Path("org/example/thing/1.0/thing-1.0.jar")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The file of a Maven repository that holds the jar."""
    jar = tmp_path / "remote" / _PATH
    jar.parent.mkdir(parents=True)
    jar.write_bytes(_CONTENT)
    return jar


@pytest.fixture
def maven(tmp_path: Path, remote: Path) -> Iterator[MavenContext]:
    handler = partial(_Quiet, directory=str(tmp_path / "remote"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield MavenContext(repo_cache=tmp_path / "cache", remote_repos={"test": url})
        server.shutdown()
        thread.join()


def test_a_missing_jar_is_fetched_once(maven: MavenContext, remote: Path) -> None:
    lines: list[str] = []
    jars = JarSet([_JAR], maven)

    jars.fetch(lines.append)
    remote.unlink()
    jars.fetch(lines.append)

    assert Path(jars.classpath).read_bytes() == _CONTENT
    assert lines == ["kafka: fetching 1 jars from Maven Central (once)"]


def test_a_half_written_jar_is_fetched_again(maven: MavenContext) -> None:
    jars = JarSet([_JAR], maven)
    cached = Path(jars.classpath)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(_CONTENT[:2])

    jars.fetch(lambda _: None)

    assert cached.read_bytes() == _CONTENT


def test_another_jar_than_the_locked_one_is_refused(maven: MavenContext, remote: Path) -> None:
    remote.write_bytes(b"something else")
    jars = JarSet([_JAR], maven)

    with pytest.raises(JarUnavailable, match=r"org\.example:thing:1\.0.*SHA-256"):
        jars.fetch(lambda _: None)

    assert not Path(jars.classpath).exists()


def test_a_jar_that_is_nowhere_is_named(maven: MavenContext, remote: Path) -> None:
    remote.unlink()

    with pytest.raises(JarUnavailable, match=r"org\.example:thing:1\.0"):
        JarSet([_JAR], maven).fetch(lambda _: None)


def test_kafka_and_its_clients_are_locked_at_one_version() -> None:
    versions = {
        version
        for group, _, version in (jar.coordinate.split(":") for jar in read_lock())
        if group == "org.apache.kafka"
    }

    assert len(versions) == 1
