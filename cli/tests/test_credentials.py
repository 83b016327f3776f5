"""The command's tokens, on the mesh's identity service."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from trackops.identity.v1 import identity_service_pb2 as pb
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from typer.testing import CliRunner, Result

from trackops_cli.credentials import Credentials
from trackops_cli.local.errors import IdentityRefused, NotLoggedIn
from trackops_cli.local.mesh import DEVELOPMENT_SECRET
from trackops_cli.local.ports import variable_of
from trackops_cli.main import app
from trackops_cli.testing import Mesh
from trackops_client import open_channel

NOBODY = "127.0.0.1:1"
PASSWORD = "correct horse battery staple"
ROLES = ("customer", "support", "operator", "service", "admin")

_RENEWS = """
import sys, time
from pathlib import Path
from trackops_cli.credentials import Credentials
store, target, ahead = sys.argv[1:]
now = lambda: time.time() + float(ahead)
print("ready", flush=True)
sys.stdin.readline()
print(Credentials(Path(store), target, now=now).access_token(), end="")
"""


class Clock:
    """This machine's, with `ahead` seconds added."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def identity(mesh: Mesh) -> Iterator[Any]:
    with open_channel(mesh.target("identity"), wait_for_ready=True) as channel:
        yield IdentityServiceStub(channel)


@pytest.fixture
def email(identity: Any) -> str:
    """The address of an account with `PASSWORD`."""
    address = f"{uuid.uuid4().hex}@example.com"
    identity.RegisterUser(pb.RegisterUserRequest(email=address, password=PASSWORD))
    return address


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(mesh: Mesh, tmp_path: Path, clock: Clock) -> Credentials:
    """Those of a user on a machine of their own."""
    return Credentials(tmp_path / "credentials.json", mesh.target("identity"), now=clock)


@pytest.fixture
def development(mesh: Mesh, tmp_path: Path) -> Credentials:
    secret = mesh.stack.passwords([DEVELOPMENT_SECRET])[DEVELOPMENT_SECRET]
    store = tmp_path / "credentials.json"
    return Credentials(store, mesh.target("identity"), development_secret=secret)


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token.strip(), options={"verify_signature": False})


def kept(store: Path, target: str) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(store.read_text())[target]
    return entries


def test_a_development_mesh_has_a_token_of_each_role(development: Credentials) -> None:
    assert claims(development.access_token())["roles"] == ["admin"]
    for role in ROLES:
        token = claims(development.access_token(role))
        assert (token["sub"], token["roles"]) == (f"client:development-{role}", [role])


def test_elsewhere_there_are_no_development_clients(credentials: Credentials) -> None:
    with pytest.raises(NotLoggedIn, match="nobody is logged in; `trackops login`"):
        credentials.access_token()
    with pytest.raises(NotLoggedIn, match="no development mesh"):
        credentials.access_token("admin")


def test_a_session_comes_before_the_development_clients(
    development: Credentials, email: str
) -> None:
    development.access_token()
    development.login(email, PASSWORD)
    assert claims(development.access_token())["roles"] == ["customer"]
    assert claims(development.access_token("support"))["roles"] == ["support"]
    assert development.logout()
    assert claims(development.access_token())["roles"] == ["admin"]
    assert not development.logout()


def test_a_token_is_read_by_its_owner_only_and_kept_for_the_next_process(
    credentials: Credentials, email: str, mesh: Mesh, tmp_path: Path
) -> None:
    store = tmp_path / "credentials.json"
    credentials.login(email, PASSWORD)
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    again = Credentials(store, mesh.target("identity"))
    assert again.access_token() == credentials.access_token()


def test_a_token_is_renewed_ahead_of_its_end(
    credentials: Credentials, email: str, clock: Clock
) -> None:
    credentials.login(email, PASSWORD)
    tokens = [credentials.access_token()]
    for minutes in (4, 6, 12, 18):  # a token lives ten
        clock.ahead = 60 * minutes
        tokens.append(credentials.access_token())
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 4
    assert len({claims(token)["sid"] for token in tokens}) == 1


def test_processes_that_renew_at_once_do_not_end_the_session(
    credentials: Credentials, email: str, clock: Clock, mesh: Mesh, tmp_path: Path
) -> None:
    credentials.login(email, PASSWORD)
    before = credentials.access_token()
    command = [sys.executable, "-c", _RENEWS, str(tmp_path / "credentials.json")]
    renewals = [
        subprocess.Popen(
            [*command, mesh.target("identity"), "400"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for one in renewals:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in renewals:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    (renewed,) = {one.communicate()[0] for one in renewals}
    assert renewed != before
    clock.ahead = 400
    assert credentials.access_token() == renewed
    clock.ahead = 800
    assert claims(credentials.access_token())["sid"] == claims(before)["sid"]


def test_logging_out_ends_the_session_at_the_server(
    credentials: Credentials, email: str, identity: Any, tmp_path: Path, mesh: Mesh
) -> None:
    credentials.login(email, PASSWORD)
    user_id = claims(credentials.access_token())["sub"]
    listing = pb.ListSessionsRequest(user_id=user_id)
    assert len(identity.ListSessions(listing).sessions) == 1
    assert credentials.logout()
    assert len(identity.ListSessions(listing).sessions) == 0
    assert kept(tmp_path / "credentials.json", mesh.target("identity")) == {}
    with pytest.raises(NotLoggedIn):
        credentials.access_token()


def test_a_second_log_in_ends_the_first_session(
    credentials: Credentials, email: str, identity: Any
) -> None:
    credentials.login(email, PASSWORD)
    first = claims(credentials.access_token())
    credentials.login(email, PASSWORD)
    second = claims(credentials.access_token())
    sessions = identity.ListSessions(pb.ListSessionsRequest(user_id=first["sub"])).sessions
    assert [one.session_id for one in sessions] == [second["sid"]] != [first["sid"]]


def test_a_session_that_was_ended_elsewhere_is_forgotten(
    credentials: Credentials, email: str, identity: Any, clock: Clock
) -> None:
    credentials.login(email, PASSWORD)
    user_id = claims(credentials.access_token())["sub"]
    identity.RevokeSessions(pb.RevokeSessionsRequest(user_id=user_id))
    clock.ahead = 400
    with pytest.raises(NotLoggedIn, match="the session has ended"):
        credentials.access_token()
    with pytest.raises(NotLoggedIn, match="nobody is logged in"):
        credentials.access_token()


def test_while_nobody_answers_the_token_at_hand_is_used_to_its_end(
    credentials: Credentials, email: str, clock: Clock, mesh: Mesh, tmp_path: Path
) -> None:
    credentials.login(email, PASSWORD)
    store = tmp_path / "credentials.json"
    entries = kept(store, mesh.target("identity"))
    store.write_text(json.dumps({NOBODY: entries}))
    cut_off = Credentials(store, NOBODY, now=clock)
    clock.ahead = 400
    assert cut_off.access_token() == credentials_of(entries)
    clock.ahead = 700
    with pytest.raises(IdentityRefused, match=r"identity at .*: UNAVAILABLE"):
        cut_off.access_token()
    with pytest.raises(IdentityRefused):
        cut_off.logout()
    assert kept(store, NOBODY) == entries


def credentials_of(entries: dict[str, Any]) -> str:
    token: str = entries[""]["access_token"]
    return token


class Command:
    """`trackops`, told where the mesh is and to keep its state in `state`."""

    def __init__(self, mesh: Mesh, state: Path) -> None:
        context = mesh.stack.context
        ports = {variable_of(name): str(port) for name, port in vars(context.ports).items()}
        self._environment = {
            "TRACKOPS_HOME": str(context.home.root),
            "XDG_STATE_HOME": str(state),
            **ports,
        }

    def run(self, *words: str, typed: str = "", status: int = 0, **more: str) -> Result:
        result = CliRunner().invoke(app, words, input=typed, env=self._environment | more)
        assert result.exit_code == status, result.output
        return result


@pytest.fixture
def trackops(mesh: Mesh, tmp_path: Path) -> Iterator[Command]:
    yield Command(mesh, tmp_path)
    mesh.stack.context.home.credentials_file.unlink(missing_ok=True)


def test_token_prints_the_token_alone(trackops: Command) -> None:
    printed = trackops.run("token").stdout
    assert claims(printed)["roles"] == ["admin"]
    assert printed == printed.strip() + "\n"
    assert claims(trackops.run("token", "--role", "support").stdout)["roles"] == ["support"]
    assert "not one of customer" in trackops.run("token", "--role", "king", status=2).stderr


def test_login_takes_a_piped_password_and_logout_ends_it(trackops: Command, email: str) -> None:
    trackops.run("login", "--email", email, typed=f"{PASSWORD}\n")
    assert claims(trackops.run("token").stdout)["roles"] == ["customer"]
    assert "logged out" in trackops.run("logout").stderr
    assert "nobody was logged in" in trackops.run("logout").stderr
    asked = trackops.run("login", typed=f"{email}\n{PASSWORD}\n")
    assert f"logged in as {email}" in asked.stderr
    trackops.run("logout")


def test_a_password_that_was_handed_out_is_replaced_at_the_first_log_in(
    trackops: Command, mesh: Mesh
) -> None:
    log = mesh.stack.context.home.log_of("identity").read_text()
    line = next(one for one in log.splitlines() if one.startswith("The first administrator"))
    email, handed_out = line.partition(": ")[2].split(" / ")
    words = ("login", "--email", email)
    assert (
        "PASSWORD_MUST_CHANGE" in trackops.run(*words, typed=f"{handed_out}\n\n", status=1).stderr
    )
    done = trackops.run(*words, typed=f"{handed_out}\n{PASSWORD}\n")
    assert "choose one of your own" in done.stderr
    assert claims(trackops.run("token").stdout)["sub"] != "client:development-admin"
    assert "choose" not in trackops.run(*words, typed=f"{PASSWORD}\n").stderr
    trackops.run("logout")


def test_a_wrong_password_is_refused_in_one_line(trackops: Command, email: str) -> None:
    refused = trackops.run("login", "--email", email, typed="wrong\n", status=1)
    assert "CREDENTIALS_INVALID" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_another_identity_service_is_not_told_the_development_secret(
    trackops: Command, mesh: Mesh
) -> None:
    elsewhere = {"TRACKOPS_IDENTITY_TARGET": f"localhost:{mesh.target('identity').split(':')[1]}"}
    assert "nobody is logged in" in trackops.run("token", status=1, **elsewhere).stderr
    assert (
        "no development mesh" in trackops.run("token", "--role=admin", status=1, **elsewhere).stderr
    )
    nobody = {"TRACKOPS_IDENTITY_TARGET": NOBODY}
    away = trackops.run("login", "--email=a@b.c", typed="x\n", status=3, **nobody)
    assert "identity at 127.0.0.1:1" in away.stderr
