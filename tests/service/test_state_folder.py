"""The state folder: what is made in it and put back, and what is said when it cannot be used."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from appliance.bootstrap.state_folder import prepare_state, state_fault
from appliance.checks.context import CheckContext
from appliance.checks.finding import Status
from appliance.config.loader import from_flags
from appliance.config.schema import Settings
from appliance.errors import StartError
from tests.checks.running import only, run_check
from tests.conftest import Logged
from tests.permissions import open_to_others
from tests.service.test_files import in_child, killed_before

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
KEY = b"k" * 32


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secret").write_text("a secret of the tests")
    environ = {"STATE_DIRECTORY": str(tmp_path / "state")}
    return from_flags(tmp_path / "customers.csv", tmp_path / "secret", environ, tmp_path)


def test_the_key_is_made_once(settings: Settings) -> None:
    key = prepare_state(settings)
    assert len(key) == 32
    assert prepare_state(settings) == prepare_state(settings, KEY) == key
    assert [file.name for file in settings.server.state.iterdir()] == ["log.key"]
    assert (settings.server.state / "log.key").stat().st_mode & 0o777 == 0o600


DAMAGED = {"empty": b"", "short": KEY[:31], "long": KEY + b"\n"}


@pytest.mark.parametrize("left", [None, *DAMAGED.values()], ids=["removed", *DAMAGED])
def test_a_key_that_is_in_use_is_put_back_and_said(left: bytes | None, settings: Settings, logged: Logged) -> None:
    prepare_state(settings)
    file = settings.server.state / "log.key"
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    assert prepare_state(settings, KEY) == KEY == file.read_bytes()
    said = logged.take("log_key_restored")
    assert (said["file"], str(said["why"]).partition(";")[0]) == (
        str(file),
        "it was removed" if left is None else "it was damaged",
    )


@pytest.mark.parametrize("left", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_key_is_refused_and_kept(left: bytes, settings: Settings) -> None:
    """A start must not hash with what is left of a key: the hashes would not be those of before, or not be keyed."""
    file = settings.server.state / "log.key"
    file.parent.mkdir()
    file.write_bytes(left)
    with pytest.raises(StartError) as caught:
        prepare_state(settings)
    size = "more" if len(left) > 32 else f"{len(left)} bytes"
    assert str(caught.value) == (
        f"{file}: the key of the hashes in the log is damaged: it has {size} instead of 32 bytes; restore it from a"
        " backup, or remove it: then a new key is made, and every customer gets another hash"
    )
    assert file.read_bytes() == left
    finding = only(run_check("state", CheckContext(settings, {})))
    assert (finding.status, finding.sentence) == (Status.FAULT, str(caught.value))


def test_what_is_no_file_is_no_key(settings: Settings, logged: Logged) -> None:
    """It blocks nobody, and a key in use takes the place of what can be replaced."""
    file = settings.server.state / "log.key"
    file.mkdir(parents=True)
    for known in (b"", KEY):
        with pytest.raises(StartError, match="the state folder cannot be used: Is a directory"):
            prepare_state(settings, known)
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(StartError, match="is damaged: it has 0 bytes"):
        prepare_state(settings)
    assert prepare_state(settings, KEY) == KEY == prepare_state(settings)
    logged.take("log_key_restored")


def test_killed_at_any_step_a_start_leaves_a_whole_key_or_none(settings: Settings) -> None:
    for call in count():
        code = in_child(killed_before(lambda: prepare_state(settings), call))
        assert len(prepare_state(settings)) == 32
        assert [file.name for file in settings.server.state.iterdir()] == ["log.key"]
        shutil.rmtree(settings.server.state)
        if code == 0:
            break


def test_a_full_disk_leaves_no_empty_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start would refuse it."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StartError, match="the state folder cannot be used: No space left on device"):
        prepare_state(settings)
    assert list(settings.server.state.iterdir()) == []


def as_nobody(body: Callable[[], object]) -> str:
    """Give the text that `body` gives as a user who may do nothing; as oneself, if that is not root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.setgroups([])
                os.setresgid(*[nobody.pw_gid] * 3)
                os.setresuid(*[nobody.pw_uid] * 3)
            os.write(writing, str(body()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return text


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["", "customers"], ids=["state", "state/customers"])
def test_a_folder_that_may_not_be_written(name: str, settings: Settings, tmp_path: Path) -> None:
    folder = settings.server.state / name
    folder.mkdir(parents=True)
    open_to_others(tmp_path)
    settings.server.state.chmod(0o777)
    folder.chmod(0o555)
    said = as_nobody(lambda: state_fault(settings))
    assert said.startswith(
        f"{settings.server.state}: the state folder cannot be used: Permission denied; set server.state to"
    )
    folder.chmod(0o777)
    assert as_nobody(lambda: state_fault(settings)) == ""


@ROOT
@pytest.mark.parametrize("name", ["", "customers"], ids=["state", "state/customers"])
def test_a_read_only_disk(name: str, settings: Settings) -> None:
    prepare_state(settings)
    with read_only(settings.server.state / name):
        assert ": Read-only file system;" in state_fault(settings)
    assert state_fault(settings) == ""


@pytest.mark.parametrize("name", ["", "customers"], ids=["state", "state/customers"])
def test_a_file_in_its_place(name: str, settings: Settings) -> None:
    file = settings.server.state / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert ": Not a directory;" in state_fault(settings)
    if not name:
        with pytest.raises(StartError, match=": Not a directory;"):
            prepare_state(settings)


def test_what_is_not_there_can_be_made(settings: Settings) -> None:
    assert state_fault(settings) == ""
