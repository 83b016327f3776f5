"""What a client of Kafka is told."""

from __future__ import annotations

import pytest

from trackops_common.kafka_settings import KafkaAccess, KafkaSettings
from trackops_common.settings import load

_SERVERS = {"TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": "one:9092,two:9092"}
_SASL = {
    **_SERVERS,
    "TRACKOPS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "TRACKOPS_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "TRACKOPS_KAFKA_USERNAME": "trackops_order",
    "TRACKOPS_KAFKA_PASSWORD": "hunter2",
    "TRACKOPS_KAFKA_CA_FILE": __file__,
}


def _access(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> KafkaAccess:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load(KafkaSettings).kafka


def test_addresses_alone_are_plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _access(monkeypatch, _SERVERS).connection == {
        "bootstrap.servers": "one:9092,two:9092",
        "security.protocol": "PLAINTEXT",
    }


def test_every_setting_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    access = _access(monkeypatch, _SASL)

    assert access.connection == {
        "bootstrap.servers": "one:9092,two:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "trackops_order",
        "sasl.password": "hunter2",
        "ssl.ca.location": __file__,
    }
    assert access.environment == _SASL


def test_tls_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = {"TRACKOPS_KAFKA_SECURITY_PROTOCOL": "SSL", "TRACKOPS_KAFKA_CA_FILE": __file__}

    assert _access(monkeypatch, _SERVERS | protocol).connection == {
        "bootstrap.servers": "one:9092,two:9092",
        "security.protocol": "SSL",
        "ssl.ca.location": __file__,
    }


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"TRACKOPS_KAFKA_USERNAME": ""}, "TRACKOPS_KAFKA_USERNAME is missing"),
        ({"TRACKOPS_KAFKA_PASSWORD": ""}, "TRACKOPS_KAFKA_PASSWORD is missing"),
        ({"TRACKOPS_KAFKA_SECURITY_PROTOCOL": "SSL"}, "TRACKOPS_KAFKA_PASSWORD is wrong"),
        (
            {"TRACKOPS_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
            "TRACKOPS_KAFKA_CA_FILE is wrong",
        ),
        ({"TRACKOPS_KAFKA_SECURITY_PROTOCOL": "TLS"}, "TRACKOPS_KAFKA_SECURITY_PROTOCOL is wrong"),
        ({"TRACKOPS_KAFKA_CA_FILE": "/nowhere/ca.pem"}, "TRACKOPS_KAFKA_CA_FILE is wrong"),
        ({"TRACKOPS_KAFKA_SASL_MECHANISM": "GSSAPI"}, "TRACKOPS_KAFKA_SASL_MECHANISM is wrong"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_what_contradicts_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    wrong: str,
) -> None:
    with pytest.raises(SystemExit):
        _access(monkeypatch, _SASL | changes)

    said = capsys.readouterr().err
    assert f"trackops: setting {wrong}" in said
    assert "hunter2" not in said


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    access = _access(monkeypatch, _SASL)

    assert "hunter2" not in f"{access!r} {load(KafkaSettings)!r}"
