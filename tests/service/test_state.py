"""The state folder: what is made in it and put back, and what is said when it cannot be used."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.bootstrap import certificates
from appliance.bootstrap.deployment import make_setup, with_new_certificate
from appliance.bootstrap.state_folder import prepare_state, state_fault
from appliance.config.schema import Settings, from_flags
from appliance.errors import StartError
from tests.conftest import Logged

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


@pytest.mark.parametrize("left", [None, b""], ids=["removed", "empty"])
def test_a_key_that_is_in_use_is_put_back_and_said(left: bytes | None, settings: Settings, logged: Logged) -> None:
    prepare_state(settings)
    file = settings.server.state / "log.key"
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    assert prepare_state(settings, KEY) == KEY == file.read_bytes()
    assert logged.take("log_key_restored")["file"] == str(file)


def test_a_full_disk_leaves_no_empty_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start would take it, and hash without a key."""

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
    for above in (tmp_path, *tmp_path.parents):
        if not above.stat().st_mode & 0o001:  # pytest's own folders are private
            above.chmod(above.stat().st_mode | 0o001)
    settings.server.state.chmod(0o777)
    folder.chmod(0o555)
    said = as_nobody(lambda: state_fault(settings))
    assert said.startswith(f"{settings.server.state}: the state folder cannot be used: Permission denied; name another")
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


def test_a_self_signed_certificate_that_was_removed_is_made_again_once(settings: Settings, logged: Logged) -> None:
    """What was made is what the next look compares with: else all workers would be replaced a second time."""
    setup = make_setup(settings, {})
    shutil.rmtree(settings.server.state)
    again = with_new_certificate(setup)
    assert setup.certificate != again.certificate == certificates.signature(settings)
    for event in ("self_signed_certificate",) * 2:
        logged.take(event)
