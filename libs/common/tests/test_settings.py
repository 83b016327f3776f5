from __future__ import annotations

from pathlib import Path

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


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mounted folder of secrets, which the environment names."""
    monkeypatch.setenv("TRACKOPS_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_secret_may_stand_in_a_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKOPS_DATABASE_URL")
    (secrets / "TRACKOPS_DATABASE_URL").write_text("postgresql://role:filed@host/db\n")

    assert (
        load(ServiceSettings).database_url.get_secret_value() == "postgresql://role:filed@host/db"
    )


def test_the_environment_goes_before_the_files(secrets: Path) -> None:
    (secrets / "trackops_database_url").write_text("postgresql://role:filed@host/db")

    assert "hush@host" in load(ServiceSettings).database_url.get_secret_value()


def test_a_folder_of_secrets_that_is_not_there_is_no_reason_to_go_on(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKOPS_SECRETS_DIR", str(secrets / "elsewhere"))

    with pytest.raises(SystemExit) as stopped:
        load(ServiceSettings)

    assert stopped.value.code == 78
    assert "TRACKOPS_SECRETS_DIR is wrong" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    ["hunter2", "postgresql://role:hunter2/x@host:1/db", "postgresql://role:hunter2@host:x/db"],
)
def test_a_url_that_is_none_is_refused_before_a_driver_repeats_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKOPS_DATABASE_URL", url)

    with pytest.raises(SystemExit):
        load(ServiceSettings)

    said = capsys.readouterr().err
    assert "TRACKOPS_DATABASE_URL is wrong: it is no URL" in said
    assert "hunter2" not in said
