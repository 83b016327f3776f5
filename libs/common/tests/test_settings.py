from __future__ import annotations

import pytest

from trackops_common.settings import ServiceSettings, load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKOPS_LISTEN", "127.0.0.1:5051")
    monkeypatch.setenv("TRACKOPS_DATABASE_URL", "postgresql://role:hush@host/db")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKOPS_DATABASE_POOL_SIZE", "9")
    monkeypatch.setenv("TRACKOPS_OF_SOMEBODY_ELSE", "ignored")

    settings = load(ServiceSettings)

    assert settings.listen == "127.0.0.1:5051"
    assert settings.database_pool_size == 9
    assert settings.database_url.get_secret_value() == "postgresql://role:hush@host/db"


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(load(ServiceSettings))


class _Demanding(ServiceSettings):
    redis_url: str


def test_every_missing_or_wrong_setting_has_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRACKOPS_DATABASE_URL")
    monkeypatch.setenv("TRACKOPS_DATABASE_POOL_SIZE", "many")
    monkeypatch.setenv("TRACKOPS_LOG_FORMAT", "sonnet")

    with pytest.raises(SystemExit) as stopped:
        load(_Demanding)

    assert stopped.value.code == 78
    lines = sorted(capsys.readouterr().err.splitlines())
    assert [line.split()[2] for line in lines] == [
        "TRACKOPS_DATABASE_POOL_SIZE",
        "TRACKOPS_DATABASE_URL",
        "TRACKOPS_LOG_FORMAT",
        "TRACKOPS_REDIS_URL",
    ]
    assert lines[1].endswith("is missing")
    assert "valid integer" in lines[0]


def test_a_wrong_value_is_not_repeated_since_it_may_be_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKOPS_DATABASE_POOL_SIZE", "hunter2")

    with pytest.raises(SystemExit):
        load(ServiceSettings)

    assert "hunter2" not in capsys.readouterr().err
