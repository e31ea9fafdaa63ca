"""The state folder: what is where in it, who owns it, and the key of the log's hashes."""

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
from appliance.system.files import write_atomically
from appliance.system.privileges import drop_privileges, file_user, hand_over

_LOG_KEY: Final = "log.key"
_LOG_KEY_BYTES: Final = 32


def snapshot_folder(settings: Settings) -> Path:
    """Return the folder of the snapshots."""
    return settings.server.state / "customers"


def ids_folder(settings: Settings) -> Path:
    """Return the folder of what is known of the help desk's ids."""
    return settings.server.state / "ids"


def certificate_folder(settings: Settings) -> Path:
    """Return the folder of the self-signed certificate."""
    return settings.server.state / "self-signed"


def acme_folder(settings: Settings) -> Path:
    """Return the folder of the certificates that are obtained from an authority, and of what belongs to them."""
    return settings.server.state / "acme"


def become_owner(server: Server) -> None:
    """Become the owner of the state folder, if this is root and the owner is not: for `sidebard import`.

    Raises StartError.
    """
    user = file_user(server.user, server.state)
    if user is None:
        return
    if server.user:
        hand_over_state(user, server.state, None)
    drop_privileges(user)


def hand_over_state(user: pwd.struct_passwd, state: Path, trail: Path | None) -> None:
    """Make this user the owner, as `privileges.hand_over` does. Raises StartError."""
    try:
        hand_over(user, state, trail)
    except OSError as error:
        raise StartError(state_sentence(state, error)) from None


def prepare_state(settings: Settings, known: bytes = b"") -> bytes:
    """Make the state folder and the key of the log's hashes, if they are missing; return the key.

    The key is kept, so that a customer has the same hash in every line that this installation ever writes. `known` is
    the key in use: should the file be removed or damaged while the service runs, it is put back.
    Raises StartError.
    """
    state = settings.server.state
    try:
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        if known:
            return _restore_log_key(state, known)
        key = read_log_key(state)
        if key is None:
            key = secrets.token_bytes(_LOG_KEY_BYTES)
            write_atomically(state / _LOG_KEY, key)
    except OSError as error:
        raise StartError(state_sentence(state, error)) from None
    return key


def read_log_key(state: Path) -> bytes | None:
    """Return the key of the log's hashes, or None if none was made yet.

    Raises StartError if the file does not hold a whole key, and OSError. With an empty key the log's hashes would be
    ones that anybody can compute.
    """
    file = state / _LOG_KEY
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as binary:
        key = binary.read(_LOG_KEY_BYTES + 1)
    if len(key) != _LOG_KEY_BYTES:
        size = f"{len(key)} bytes" if len(key) < _LOG_KEY_BYTES else "more"
        raise StartError(
            f"{file}: the key of the hashes in the log is damaged: it has {size} instead of {_LOG_KEY_BYTES} bytes;"
            " restore it from a backup, or remove it: then a new key is made, and every customer gets another hash"
        )
    return key


def _restore_log_key(state: Path, known: bytes) -> bytes:
    """Return the key of the file, after writing the `known` one if there is none or it is damaged."""
    try:
        key, what = read_log_key(state), "removed"
    except StartError:
        key, what = None, "damaged"
    if key is None:
        key = known
        write_atomically(state / _LOG_KEY, key)
        log.warning("log_key_restored", file=str(state / _LOG_KEY), why=f"it was {what}; customers keep their hashes")
    return key


def state_fault(settings: Settings) -> str:
    """Return why the state folder cannot be written, or "" if it can; what is missing can be made."""
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
    """Return a sentence: the state folder cannot be used, why, and what to do."""
    return (
        f"{folder}: the state folder cannot be used: {error.strerror};"
        " set server.state to another folder, or correct its owner"
    )
