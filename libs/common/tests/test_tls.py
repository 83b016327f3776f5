from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trackops_cli.local.authority import Authority
from trackops_common.errors import StartRefused
from trackops_common.testing import ManualClock, eventually
from trackops_common.tls import TlsFiles, TlsPaths, watched


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "tls")
    made.issue(["order", "cli"])
    return made


@pytest.fixture
def paths(authority: Authority) -> TlsPaths:
    return authority.paths("order")


def test_the_files_are_read_with_whom_they_name_and_when_they_end(
    authority: Authority, paths: TlsPaths
) -> None:
    material = TlsFiles(paths).current

    assert material.names == ("order", "localhost", "127.0.0.1")
    assert material.expires == authority.ends("order")
    assert material.key == paths.key.read_bytes()


def test_a_chain_ends_with_the_first_of_its_certificates(
    authority: Authority, paths: TlsPaths
) -> None:
    authority.renew(["cli"], valid=timedelta(days=7))
    with paths.certificate.open("ab") as chain:
        chain.write(authority.paths("cli").certificate.read_bytes())

    assert TlsFiles(paths).current.expires == authority.ends("cli")


def test_keys_are_not_shown(paths: TlsPaths) -> None:
    files = TlsFiles(paths)

    assert "PRIVATE" not in repr(files.current) + repr(vars(files))


def _without_key(paths: TlsPaths, authority: Authority) -> TlsPaths:
    paths.key.unlink()
    return paths


def _with_rubbish(paths: TlsPaths, authority: Authority) -> TlsPaths:
    paths.certificate.write_text("rubbish")
    return paths


def _with_no_authority(paths: TlsPaths, authority: Authority) -> TlsPaths:
    paths.ca.write_text("")
    return paths


def _with_damaged_key(paths: TlsPaths, authority: Authority) -> TlsPaths:
    paths.key.write_text(paths.key.read_text()[:-80])
    return paths


def _with_a_key_of_another(paths: TlsPaths, authority: Authority) -> TlsPaths:
    return replace(paths, key=authority.paths("cli").key)


def _expired(paths: TlsPaths, authority: Authority) -> TlsPaths:
    authority.renew(["order"], valid=-timedelta(days=1))
    return paths


def _naming_nobody(paths: TlsPaths, authority: Authority) -> TlsPaths:
    return replace(paths, certificate=paths.ca, key=paths.ca.with_suffix(".key"))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_without_key, "order.key cannot be read: No such file or directory"),
        (_with_rubbish, "order.crt holds no certificate in PEM"),
        (_with_no_authority, "ca.crt holds no certificate in PEM"),
        (_with_damaged_key, "order.key holds no private key in PEM without password"),
        (_with_a_key_of_another, "cli.key is not that of"),
        (_expired, "order.crt holds from"),
        (_naming_nobody, "ca.crt names nobody"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(
    spoil: Callable[[TlsPaths, Authority], TlsPaths],
    why: str,
    paths: TlsPaths,
    authority: Authority,
) -> None:
    with pytest.raises(StartRefused) as refused:
        TlsFiles(spoil(paths, authority))

    assert str(refused.value).startswith("TLS cannot be used: ")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_new_certificate_is_taken_in(authority: Authority, paths: TlsPaths) -> None:
    files = TlsFiles(paths)
    before = files.current
    authority.renew(["order"])

    with capture_logs() as logs:
        files.look()

    assert files.current is not before
    assert files.current.certificate == paths.certificate.read_bytes()
    assert [line["event"] for line in logs] == ["took in a new certificate"]


def test_a_link_that_is_swapped_is_noticed(tmp_path: Path, authority: Authority) -> None:
    """As Kubernetes does it: the files are links through one link to a folder."""
    link = tmp_path / "now"
    link.symlink_to(authority.folder, target_is_directory=True)
    files = TlsFiles(TlsPaths(link / "order.crt", link / "order.key", link / "ca.crt"))
    other = Authority(tmp_path / "other")
    other.issue(["order"])

    (tmp_path / "next").symlink_to(other.folder, target_is_directory=True)
    (tmp_path / "next").rename(link)
    files.look()

    assert files.current.ca == other.paths("order").ca.read_bytes()


def test_nothing_new_changes_nothing(paths: TlsPaths) -> None:
    files = TlsFiles(paths)
    before = files.current

    with capture_logs() as logs:
        files.look()

    assert files.current is before
    assert logs == []


def test_broken_new_files_are_logged_once_and_the_old_ones_stay(
    authority: Authority, paths: TlsPaths
) -> None:
    files = TlsFiles(paths)
    before = files.current
    sound = paths.key.read_bytes()
    paths.key.write_text("rubbish")

    with capture_logs() as logs:
        for _ in range(4):
            files.look()

    assert files.current is before
    (line,) = logs
    assert line["log_level"] == "error"
    assert "order.key holds no private key" in line["error"]

    paths.key.write_bytes(sound)
    files.look()
    authority.renew(["order"])
    files.look()
    assert files.current is not before


def test_files_that_are_being_written_are_not_an_error(
    authority: Authority, paths: TlsPaths
) -> None:
    files = TlsFiles(paths)
    old_key = paths.key.read_bytes()
    authority.renew(["order"])
    new_key = paths.key.read_bytes()

    with capture_logs() as logs:
        paths.key.write_bytes(old_key)
        files.look()
        paths.key.write_bytes(new_key)
        files.look()

    assert [line["event"] for line in logs] == ["took in a new certificate"]
    assert files.current.key == new_key


def test_a_certificate_that_begins_later_is_refused_until_then(
    authority: Authority, paths: TlsPaths
) -> None:
    clock = ManualClock(datetime.now(UTC) - timedelta(days=80))
    authority.renew(["order"], valid=timedelta(days=7))
    with pytest.raises(StartRefused):
        TlsFiles(paths, clock)

    clock.advance(days=81)

    assert TlsFiles(paths, clock).current.expires == authority.ends("order")


async def test_watched_files_are_looked_at_by_themselves(
    authority: Authority, paths: TlsPaths
) -> None:
    files = TlsFiles(paths)
    before = files.current

    async with watched(files, every_seconds=0.01) as (watch,):
        authority.renew(["order"])
        await eventually(lambda: files.current is not before)

    await asyncio.wait([watch])
    assert watch.cancelled()
