"""The state folder: where things lie in it, who owns it, and the key of the log's hashes."""

from __future__ import annotations

import errno
import os
import pwd
import secrets
from pathlib import Path
from typing import Final

from appliance.config.schema import Server, Settings
from appliance.errors import StartError
from appliance.observe.logs import log
from appliance.system.privileges import become, file_user, hand_over

_LOG_KEY_BYTES: Final = 32


def snapshot_folder(settings: Settings) -> Path:
    """Give where the snapshots are kept."""
    return settings.server.state / "customers"


def certificate_folder(settings: Settings) -> Path:
    """Give where the self-signed certificate is kept."""
    return settings.server.state / "self-signed"


def become_owner(server: Server) -> None:
    """Become who owns the state folder, if this is root and that is another: for an import by hand.

    Raises StartError.
    """
    user = file_user(server.user, server.state)
    if user is None:
        return
    if server.user:
        give(user, server.state, None)
    become(user)


def give(user: pwd.struct_passwd, state: Path, trail: Path | None) -> None:
    """Hand over, as `hand_over` does. Raises StartError."""
    try:
        hand_over(user, state, trail)
    except OSError as error:
        raise StartError(state_sentence(state, error)) from None


def prepare_state(settings: Settings, known: bytes = b"") -> bytes:
    """Make the state folder and the key of the log's hashes, if they are not there; give the key.

    The key is kept, so that a customer has the same hash in every line that this installation ever writes. `known` is
    the key in use: should somebody have removed it while the service runs, it is put back.
    Raises StartError.
    """
    state = settings.server.state
    file = state / "log.key"
    try:
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        key = _read_log_key(file)
        if not key:
            _write_log_key(file, known or secrets.token_bytes(_LOG_KEY_BYTES))
            if known:
                log.warning("log_key_restored", file=str(file), why="it was removed; customers keep their hashes")
            key = _read_log_key(file)
    except OSError as error:
        raise StartError(state_sentence(state, error)) from None
    return key


def _read_log_key(file: Path) -> bytes:
    try:
        return file.read_bytes()[:64]
    except FileNotFoundError:
        return b""


def _write_log_key(file: Path, key: bytes) -> None:
    """Write it whole or not at all: a full disk must not leave an empty one, which would hash without a key."""
    unfinished = file.with_name(f"log.key.{os.getpid()}.tmp")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as binary:
            binary.write(key)
            binary.flush()
            os.fsync(descriptor)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)


def state_fault(settings: Settings) -> str:
    """Say why the state folder cannot be written, "" if it can; what is not there can be made."""
    state = settings.server.state
    try:
        for folder in (state, snapshot_folder(settings)):
            if folder.exists():
                _check_writable(folder)
    except OSError as error:
        return state_sentence(state, error)
    return ""


def _check_writable(folder: Path) -> None:
    """Raise OSError if this process cannot make files in `folder`."""
    if not folder.is_dir():
        number = errno.ENOTDIR
    elif os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return
    else:
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    raise OSError(number, os.strerror(number))


def state_sentence(folder: Path, error: OSError) -> str:
    """Say that the state folder cannot be used, and what to do."""
    return (
        f"{folder}: the state folder cannot be used: {error.strerror};"
        " name another in server.state, or correct its owner"
    )
