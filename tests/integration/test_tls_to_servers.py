"""TLS to Postgres, Redis and Kafka: who can prove nothing gets no connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from trackops_cli.local.kafka import Kafka
from trackops_cli.local.kafka_rights import ensure_acls, ensure_users
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import temporary_stack
from trackops_common.database import Database
from trackops_common.errors import DependencyUnavailable
from trackops_common.kafka import check_topics
from trackops_common.kafka_settings import KafkaAccess, KafkaSettings
from trackops_common.settings import load
from trackops_common.topic_setup import ensure_topics
from trackops_common.topics import ORDER_EVENTS
from trackops_order.adapters.redis_cache import RedisOrderCache

from .tls_front import TlsFront

_ROLE = "trackops_order"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def strange_ca_file(folder: Path) -> str:
    path = folder / "strange.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


Front = Callable[..., TlsFront]


@pytest.fixture
def front(authority: trustme.CA) -> Iterator[Front]:
    """Makes fronts for a port; their certificate is for 127.0.0.1 unless `name` says otherwise."""
    made: list[TlsFront] = []

    def make(port: int, *, name: str = "127.0.0.1", postgres: bool = False) -> TlsFront:
        context = _context(authority.issue_cert(name))
        made.append(TlsFront(port, context, postgres=postgres))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _at(url: str, port: int, query: str) -> str:
    """`url` with another port and with `query`."""
    parts = urlsplit(url)
    netloc = parts.netloc.replace(f":{parts.port}", f":{port}")
    return parts._replace(netloc=netloc, query=query).geturl()


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _verify(ca_file: str) -> str:
    return f"sslmode=verify-full&sslrootcert={ca_file}"


def test_postgres_is_reached_through_tls(
    database: FreshDatabase, front: Front, ca_file: str
) -> None:
    url = database.url(_ROLE)
    way = front(_port(url), postgres=True)
    secured = _at(url, way.port, _verify(ca_file))

    with closing(Database(secured, application_name="test")) as one:
        one.check()
    psycopg2.connect(secured).close()  # as the relay listens

    assert way.handshakes == 2


def _refuses_postgres(url: str, why: str) -> None:
    with (
        closing(Database(url, application_name="test")) as one,
        pytest.raises(DependencyUnavailable) as refusal,
    ):
        one.check()
    assert why in str(refusal.value.__cause__)
    with pytest.raises(psycopg2.OperationalError, match=why):
        psycopg2.connect(url)


def test_a_postgres_of_another_authority_is_refused(
    database: FreshDatabase, front: Front, strange_ca_file: str
) -> None:
    url = database.url(_ROLE)
    way = front(_port(url), postgres=True)

    _refuses_postgres(_at(url, way.port, _verify(strange_ca_file)), "certificate verify failed")


def test_a_postgres_of_another_name_is_refused(
    database: FreshDatabase, front: Front, ca_file: str
) -> None:
    url = database.url(_ROLE)
    way = front(_port(url), name="elsewhere.example", postgres=True)

    _refuses_postgres(_at(url, way.port, _verify(ca_file)), "does not match host name")


def test_a_postgres_without_tls_is_refused(database: FreshDatabase, ca_file: str) -> None:
    url = database.url(_ROLE)

    _refuses_postgres(_at(url, _port(url), _verify(ca_file)), "server does not support SSL")


def _finds_redis(url: str) -> bool:
    with closing(RedisOrderCache(url, timeout_seconds=5)) as cache:
        cache.check()
        return cache.sound


def _redis_url(servers: LocalStack, port: int, ca_file: str) -> str:
    url = _at(servers.redis.url(_ROLE), port, f"ssl_ca_certs={ca_file}")
    return url.replace("redis://", "rediss://")


def test_redis_is_reached_through_tls(
    redis_url: str, servers: LocalStack, front: Front, ca_file: str
) -> None:
    way = front(_port(redis_url))

    assert _finds_redis(_redis_url(servers, way.port, ca_file))
    assert way.handshakes == 1


def test_a_redis_that_proves_nothing_is_refused(
    redis_url: str, servers: LocalStack, front: Front, ca_file: str, strange_ca_file: str
) -> None:
    way = front(_port(redis_url))
    elsewhere = front(_port(redis_url), name="elsewhere.example")

    assert not _finds_redis(_redis_url(servers, way.port, strange_ca_file))
    assert not _finds_redis(_redis_url(servers, elsewhere.port, ca_file))
    assert not _finds_redis(_redis_url(servers, _port(redis_url), ca_file))  # it speaks no TLS


@pytest.fixture(scope="module")
def broker(authority: trustme.CA, folder: Path, ca_file: str) -> Iterator[Kafka]:
    """A real Kafka with a certificate for 127.0.0.1."""
    keystore = folder / "broker.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(keystore))
    with temporary_stack() as stack:
        stack.kafka = made = Kafka(
            stack.context, "SASL_SSL", keystore=_pkcs8(keystore), authorities=Path(ca_file)
        )
        made.start()
        ensure_topics(made.access(), [ORDER_EVENTS])
        ensure_users(made.access(), {_ROLE: made.password(_ROLE)})
        ensure_acls(made.access())
        yield made


def _pkcs8(path: Path) -> Path:
    """Kafka reads no other form of keys."""
    from cryptography.hazmat.primitives import serialization as form

    content = path.read_bytes()
    key = form.load_pem_private_key(content, None)
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    path.write_bytes(private + content[content.index(b"-----BEGIN CERTIFICATE") :])
    return path


def test_kafka_is_reached_through_tls_as_the_settings_say(
    broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in broker.access(_ROLE).environment.items():
        monkeypatch.setenv(setting, value)

    assert check_topics(load(KafkaSettings).kafka, [ORDER_EVENTS.name]) == {ORDER_EVENTS.name: 6}


def _answered(*accesses: KafkaAccess) -> list[KafkaAccess]:
    """Those that the broker lets in; all are tried at once, as a refusal is waited for."""
    with ThreadPoolExecutor(len(accesses)) as pool:
        answers = list(pool.map(_answers, accesses))
    return [access for access, answer in zip(accesses, answers, strict=True) if answer]


def _answers(access: KafkaAccess) -> bool:
    admin = AdminClient({**access.connection, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=5).brokers)
    except KafkaException:
        return False


def test_a_kafka_that_proves_nothing_is_refused(
    broker: Kafka, ca_file: str, strange_ca_file: str
) -> None:
    def access(ca_file: str, *, host: str = "127.0.0.1") -> KafkaAccess:
        bootstrap = broker.bootstrap.replace("127.0.0.1", host)
        return KafkaAccess.with_password(
            bootstrap, _ROLE, broker.password(_ROLE), protocol="SASL_SSL", ca_file=ca_file
        )

    sound = access(ca_file)
    by_the_machines_own_authorities = access("")
    of_another_name = access(ca_file, host="localhost")
    strange = access(strange_ca_file)

    tried = (sound, strange, by_the_machines_own_authorities, of_another_name)
    assert _answered(*tried) == [sound]


def test_a_kafka_with_tls_takes_nobody_without(broker: Kafka) -> None:
    password = broker.password(_ROLE)

    named = KafkaAccess.with_password(broker.bootstrap, _ROLE, password)
    assert _answered(named, KafkaAccess(broker.bootstrap)) == []
