"""What a packaged executable leaves behind; tests/package has the executable itself."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from appliance.system.frozen import as_child_of_bootloader, let_others_read, remove_stale

NOBODY = "ffffffff"  # above every pid


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        (f"_MEI{NOBODY}abCD12", False),
        (f"_MEI{os.getpid():08x}abCD12", True),
        (f"_MEI{NOBODY}abCD123", True),
        (f"x_MEI{NOBODY}abCD12", True),
        ("customers", True),
    ],
    ids=["of nobody", "of one that runs", "longer", "another beginning", "another name"],
)
def test_removes_what_nobody_needs(name: str, stays: bool, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "library.so").touch()
    remove_stale(tmp_path)
    assert folder.exists() is stays


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    remove_stale(tmp_path / "none")


def test_from_source_nothing_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f"_MEI{NOBODY}abCD12"
    left.mkdir()
    with as_child_of_bootloader({"CACHE_DIRECTORY": str(tmp_path)}):
        pass
    assert left.exists()


def test_others_may_load_what_was_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lib" / "module.so"
    file.parent.mkdir(mode=0o700)
    file.touch(mode=0o600)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    let_others_read()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, file.parent, file)} == {0o755}
