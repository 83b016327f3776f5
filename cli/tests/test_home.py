import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from trackops_cli.local.errors import DiskFull
from trackops_cli.local.home import Home


def test_passwords_are_kept_and_read_by_their_owner_only(tmp_path: Path) -> None:
    first = Home(tmp_path).passwords(["trackops_order"])
    again = Home(tmp_path).passwords(["trackops_order", "trackops_payment"])

    assert again["trackops_order"] == first["trackops_order"]
    assert again["trackops_payment"] != first["trackops_order"]
    assert stat.S_IMODE(Home(tmp_path).secrets_file.stat().st_mode) == 0o600


def test_asking_for_a_known_password_makes_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.known_password("trackops_order") == ""
    assert not home.secrets_file.exists()
    made = home.passwords(["trackops_order"])["trackops_order"]
    assert home.known_password("trackops_order") == made
    assert home.known_password("trackops_payment") == ""


def test_erase_leaves_what_is_not_ours(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.passwords(["trackops_order"])
    home.credentials_file.touch()
    (home.data_of("redis") / "dump").touch()
    (tmp_path / "bench.json").touch()

    home.erase()

    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_a_nearly_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499_000_000))

    with pytest.raises(DiskFull, match="499 MB free"):
        Home(tmp_path).check_space()


def test_the_environment_names_the_state_directory(tmp_path: Path) -> None:
    assert Home.from_environment({"TRACKOPS_HOME": str(tmp_path)}).root == tmp_path
    assert Home.from_environment({}).root.name == ".trackops"
