"""Root gives no file of its own to the user of the service, whatever that user puts into the state folder."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.checks.context import CheckContext
from appliance.config.loader import load
from appliance.system import privileges
from tests.checks.running import only, run_check, write_home
from tests.daemon import ROOT, Daemon, children
from tests.permissions import open_to_others

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

_NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(name="victim")
def _victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    victim.write_text("root's own")
    return victim


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    (state / "customers").mkdir(parents=True)
    (state / "log.key").touch()
    return state


def _give(path: Path) -> None:
    os.chown(path, _NOBODY.pw_uid, _NOBODY.pw_gid)


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
@pytest.mark.parametrize("what", ["log.key", "customers/lock", "trail"])
def test_hand_over_leaves_links_alone(state: Path, victim: Path, what: str, link: Callable[[Path, Path], None]) -> None:
    (state / what).unlink(missing_ok=True)
    link(victim, state / what)
    privileges.hand_over(_NOBODY, state, state / "trail")
    assert victim.stat().st_uid == 0
    assert state.stat().st_uid == _NOBODY.pw_uid


def test_hand_over_gives_all_that_root_has_made(state: Path, tmp_path: Path) -> None:
    privileges.hand_over(_NOBODY, state, tmp_path / "trail")
    given = (state, *state.rglob("*"), tmp_path / "trail")
    assert {path.stat().st_uid for path in given} == {_NOBODY.pw_uid}
    assert (tmp_path / "trail").stat().st_mode & 0o777 == 0o600


def test_hand_over_makes_the_folder_for_the_user_alone(tmp_path: Path) -> None:
    state = tmp_path / "made" / "state"
    privileges.hand_over(_NOBODY, state, None)
    assert (state.stat().st_uid, state.stat().st_mode & 0o777, state.parent.stat().st_uid) == (
        _NOBODY.pw_uid,
        0o700,
        0,
    )


@pytest.mark.parametrize("below", ["", "customers"], ids=["state folder", "folder in it"])
def test_nothing_is_given_below_a_folder_of_the_user(state: Path, below: str) -> None:
    """Who owns a folder can move into it what root has left elsewhere in their reach."""
    _give(state / below)
    victim = state / below / "victim"
    victim.touch()
    privileges.hand_over(_NOBODY, state, None)
    assert victim.stat().st_uid == 0


def test_nothing_is_given_where_the_user_can_change_the_way(tmp_path: Path) -> None:
    theirs, roots = tmp_path / "home", tmp_path / "roots"
    theirs.mkdir()
    roots.mkdir()
    (theirs / "inside").mkdir()
    _give(theirs)
    (theirs / "link").symlink_to(roots)
    privileges.hand_over(_NOBODY, theirs / "inside", theirs / "trail")
    privileges.hand_over(_NOBODY, theirs / "new", None)
    assert (theirs / "inside").stat().st_uid == 0
    assert not (theirs / "new").exists()
    assert not (theirs / "trail").exists()
    owner = privileges.owner_of(theirs / "link")
    assert owner is not None
    assert owner.pw_uid == _NOBODY.pw_uid


def test_folder_that_is_swapped_for_a_link_during_the_walk_leads_nowhere(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (state / "customers" / "lock").touch()
    listdir = os.listdir

    def swap(folder: int) -> list[str]:
        names = listdir(folder)
        if "customers" in names:
            (state / "customers").rename(state / "moved")
            (state / "customers").symlink_to(elsewhere)
        return names

    monkeypatch.setattr(os, "listdir", swap)
    privileges.hand_over(_NOBODY, state, None)
    assert (elsewhere.stat().st_uid, (elsewhere / "lock").stat().st_uid) == (0, 0)
    assert state.stat().st_uid == _NOBODY.pw_uid


# The program


@pytest.fixture
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let any user enter the folders of the program while the test runs: a clone may lie in root's home.

    One test at a time, also among the processes of pytest-xdist: each puts back what it found.
    """
    with open(tmp_path_factory.getbasetemp().parent / "reachable", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        above = {folder for start in (ROOT, Path(sys.prefix)) for folder in (start, *start.parents)}
        closed = {folder: mode for folder in above if not (mode := folder.stat().st_mode) & 0o001}
        for folder, mode in closed.items():
            folder.chmod(stat.S_IMODE(mode) | 0o001)
        yield
        for folder, mode in closed.items():
            folder.chmod(stat.S_IMODE(mode))


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("owner", [0, _NOBODY.pw_uid], ids=["state of root's", "state of the user's"])
def test_service_and_import_as_root_leave_all_to_the_user(tmp_path: Path, owner: int) -> None:
    open_to_others(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, owner, owner)
    with Daemon(tmp_path, server='user = "nobody"') as daemon:
        daemon.wait_for("serving")
        pids = (daemon.process.pid, *children(daemon.process.pid))
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    assert len(pids) == 3
    for status in statuses:
        rows = dict(row.split(":\t", 1) for row in status.splitlines() if ":\t" in row)
        assert {int(rows[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
        assert (rows["NoNewPrivs"], rows["Uid"].split()) == ("1", [str(_NOBODY.pw_uid)] * 4)
    command = [sys.executable, "-m", "appliance", "import", "--config", str(daemon.config)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    found = {path: path.stat() for path in (state, *state.rglob("*"))}
    assert {facts.st_uid for facts in found.values()} == {_NOBODY.pw_uid}
    assert {facts.st_mode & 0o777 for facts in found.values()} == {0o600, 0o700}


def test_state_folder_that_the_user_cannot_reach_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Daemon(tmp_path, server='user = "nobody"') as daemon:
        said = str(daemon.wait_for("start_failed")["message"])
        assert daemon.end() == 3
    sentence = (
        f"{tmp_path}/state: the state folder cannot be used: Permission denied; set server.state to another folder"
    )
    assert said.startswith(sentence)
    made = load(daemon.config, {})
    where = CheckContext(made, {}, file_user=_NOBODY)
    assert {only(run_check(name, where)).sentence for name in ("state", "space")} == {said}


def test_import_as_root_into_a_folder_of_the_user_follows_no_link(tmp_path: Path, victim: Path) -> None:
    open_to_others(tmp_path)
    customers = tmp_path / "state" / "customers"
    config = write_home(tmp_path)
    customers.mkdir()
    for path in (tmp_path / "state", customers):
        _give(path)
    (customers / "lock").symlink_to(victim)
    command = [sys.executable, "-m", "appliance", "import", "--config", str(config)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, "cannot be written" in ended.stderr) == (1, True), ended.stderr
    assert (victim.stat().st_uid, victim.read_text()) == (0, "root's own")
