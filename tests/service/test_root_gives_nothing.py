"""Root gives no file of its own to the user of the service, whatever that user puts into the state folder."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from appliance.customers import importer
from appliance.service import privileges

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

_NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(name="victim")
def _victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    victim.write_text("root's own")
    return victim


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_lock_that_is_a_link_keeps_its_owner(tmp_path: Path, victim: Path, link: object) -> None:
    folder = tmp_path / "customers"
    folder.mkdir()
    os.chown(folder, _NOBODY.pw_uid, _NOBODY.pw_gid)
    link(victim, folder / "lock")  # type: ignore[operator]
    try:
        os.close(importer._create(folder / "lock", os.O_RDWR))
    except OSError:
        assert link is os.symlink
    assert victim.stat().st_uid == 0


def test_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "customers").symlink_to("elsewhere")
    with pytest.raises(NotADirectoryError):
        importer._create(tmp_path / "customers" / "lock", os.O_RDWR)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_file_made_by_root_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, _NOBODY.pw_uid, _NOBODY.pw_gid)
    os.close(importer._create(tmp_path / "lock", os.O_RDWR))
    facts = (tmp_path / "lock").stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (_NOBODY.pw_uid, 0o600)


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_hand_over_leaves_links_alone(tmp_path: Path, victim: Path, link: object) -> None:
    link(victim, tmp_path / "name")  # type: ignore[operator]
    privileges._hand_over(tmp_path / "name", _NOBODY)
    assert victim.stat().st_uid == 0


def test_hand_over_gives_a_file_of_one_name(victim: Path) -> None:
    privileges._hand_over(victim, _NOBODY)
    assert victim.stat().st_uid == _NOBODY.pw_uid


def test_folder_that_is_swapped_for_a_link_during_the_walk_leads_nowhere(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, state = tmp_path / "elsewhere", tmp_path / "state"
    elsewhere.mkdir()
    (state / "below").mkdir(parents=True)
    (state / "first").touch()
    (state / "below" / victim.name).touch()
    victim = victim.rename(elsewhere / victim.name)
    hand_over = privileges._hand_over

    def swap(name: str | Path, entry: pwd.struct_passwd, folder: int | None = None) -> None:
        if name == "first":
            (state / "below").rename(state / "moved")
            (state / "below").symlink_to(elsewhere)
        hand_over(name, entry, folder)

    monkeypatch.setattr(privileges, "_hand_over", swap)
    privileges._own(state, _NOBODY)
    assert (elsewhere.stat().st_uid, victim.stat().st_uid) == (0, 0)
    assert state.stat().st_uid == _NOBODY.pw_uid
