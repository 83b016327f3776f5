"""Which sessions have ended: one suite, with and without Redis; and what Redis may not change."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import redis
from structlog.testing import capture_logs

from trackops_cli.testing import Database
from trackops_common import database as database_module
from trackops_common.testing import TcpLink
from trackops_identity.adapters.encoding import IdentityTopics
from trackops_identity.adapters.postgres import PostgresIdentityReader, PostgresUnitOfWorkFactory
from trackops_identity.adapters.redis_sessions import CachedSessionEnds
from trackops_identity.application.ports import SessionEnds, UnitOfWorkFactory
from trackops_identity.domain.session import EndReason, Session, SessionLimits
from trackops_identity.domain.user import User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def own(database: Database) -> Iterator[database_module.Database]:
    url = database.url("trackops_identity")
    with closing(database_module.Database(url, application_name="test")) as made:
        yield made


class Sessions:
    """Sessions of one person, in Postgres."""

    def __init__(self, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work
        self._user = User.register(uuid.uuid4(), email="a@b.c", password_hash="", now=NOW)
        with unit_of_work() as work:
            work.users.add(self._user)
            work.commit()

    def start(self) -> UUID:
        session_id = uuid.uuid4()
        limits = SessionLimits()
        session = Session.start(
            session_id, self._user.user_id, device="", address="", now=NOW, limits=limits
        )
        with self._unit_of_work() as work:
            work.sessions.add(session)
            work.commit()
        return session_id

    def end(self, session_id: UUID) -> None:
        with self._unit_of_work() as work:
            session = work.sessions.lock(session_id)
            assert session is not None
            session.end(EndReason.LOGGED_OUT, LATER)
            work.sessions.save([session])
            work.commit()


@pytest.fixture
def sessions(own: database_module.Database) -> Sessions:
    return Sessions(PostgresUnitOfWorkFactory(own, IdentityTopics("events", "letters")))


class Plain:
    """Postgres alone, which counts how often it was asked."""

    def __init__(self, own: database_module.Database) -> None:
        self._reader = PostgresIdentityReader(own)
        self.asked = 0

    def has_ended(self, session_id: UUID) -> bool:
        self.asked += 1
        return self._reader.has_ended(session_id)


@pytest.fixture
def plain(own: database_module.Database) -> Plain:
    return Plain(own)


@pytest.fixture(params=["Postgres alone", "Redis before it", "Redis away"])
def ends(request: pytest.FixtureRequest, plain: Plain) -> Iterator[SessionEnds]:
    if request.param == "Postgres alone":
        yield plain
        return
    is_there = request.param == "Redis before it"
    url = request.getfixturevalue("redis_url") if is_there else NOBODY
    with closing(CachedSessionEnds(plain, url)) as cached:
        yield cached


def test_a_session_has_ended_from_the_commit_on_whoever_asked_before(
    ends: SessionEnds, sessions: Sessions
) -> None:
    one, other = sessions.start(), sessions.start()
    assert not ends.has_ended(one)
    sessions.end(one)
    for _ in range(3):
        assert ends.has_ended(one)
        assert not ends.has_ended(other)


def test_a_session_that_nobody_knows_has_not_ended(ends: SessionEnds, sessions: Sessions) -> None:
    for _ in range(2):
        assert not ends.has_ended(uuid.uuid4())


def test_an_end_is_asked_of_postgres_once(plain: Plain, redis_url: str, sessions: Sessions) -> None:
    one = sessions.start()
    sessions.end(one)
    with closing(CachedSessionEnds(plain, redis_url)) as cached:
        assert [cached.has_ended(one) for _ in range(5)] == [True] * 5
    with closing(CachedSessionEnds(plain, redis_url)) as another_replica:
        assert another_replica.has_ended(one)
    assert plain.asked == 1


def test_an_emptied_redis_logs_nobody_out_and_brings_nobody_back(
    plain: Plain, redis_url: str, sessions: Sessions
) -> None:
    on, ended = sessions.start(), sessions.start()
    sessions.end(ended)
    with closing(CachedSessionEnds(plain, redis_url)) as cached:
        for _ in range(3):
            assert (cached.has_ended(on), cached.has_ended(ended)) == (False, True)
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()


def test_entries_do_not_stay_for_ever(plain: Plain, redis_url: str, sessions: Sessions) -> None:
    one = sessions.start()
    sessions.end(one)
    with closing(CachedSessionEnds(plain, redis_url)) as cached:
        cached.has_ended(one)
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys()
        assert 0 < client.ttl(key) <= 24 * 3600


def test_a_redis_that_hangs_is_left_alone_for_a_while_and_then_used_again(
    plain: Plain, redis_url: str, sessions: Sessions
) -> None:
    port = urlsplit(redis_url).port
    assert port is not None
    link = TcpLink(port)
    now = 100.0
    one = sessions.start()
    sessions.end(one)
    url = redis_url.replace(str(port), str(link.port))
    with (
        closing(link),
        capture_logs() as logs,
        closing(
            CachedSessionEnds(plain, url, timeout_seconds=0.05, monotonic=lambda: now)
        ) as cached,
    ):
        link.hush()
        for _ in range(4):
            assert cached.has_ended(one)
        assert (plain.asked, cached.sound) == (4, False)
        link.cut()
        link.restore()
        assert cached.has_ended(one)
        assert not cached.sound
        now += 1.0
        for _ in range(4):
            assert cached.has_ended(one)
        assert (plain.asked, cached.sound) == (6, True)
    assert [one["event"] for one in logs] == [
        "sessions are read from Postgres alone",
        "Redis is back",
    ]
