"""The machine under it: state folder, free space, clock, descriptors."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.bootstrap.state_folder import state_sentence
from appliance.checks.context import Ground, existing
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.errors import StartFault
from appliance.ingest import validation
from appliance.system.privileges import as_owner, can_give

_RELEASED: Final = 2026
"""The year in which this version was built: no clock that is right shows an earlier one."""

_AHEAD: Final = 60.0
_PROBE_BYTES: Final = 4096


def state(ground: Ground) -> Iterator[Finding]:
    """Write into the state folder, and read back what was written; look whether the audit trail could be written.

    All of it as the user of the service, but what the start does as root: to make the folder, or to give it to them.
    """
    state = ground.settings.server.state
    user = ground.settings.server.user if ground.eyes is not None else ""
    given = bool(user) and can_give(state)
    with as_owner(ground.eyes):
        try:
            yield from _state(ground, user if given else "")
        except OSError as error:  # a folder on the way that this user may not enter
            yield fault(state_sentence(state, error))


def _state(ground: Ground, given_to: str) -> Iterator[Finding]:
    if ground.settings.log.trail is not None:
        yield _trail(ground.settings.log.trail)
    state = ground.settings.server.state
    folder = existing(state)
    if given_to:
        if not os.access(state.parent if folder == state else folder, os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        yield ok(f"{state} will be {'given to' if folder == state else 'made for'} {given_to} at the start")
    elif _is_others(folder):
        owner = _name_of(folder.stat().st_uid)
        yield not_checked(f"{folder} belongs to {owner}; only that user, or root, can check it")
    elif folder != state:
        usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
        sentence = f"{state} is not there yet, and"
        yield (
            ok(f"{sentence} will be made")
            if usable
            else fault(f"{sentence} cannot be made in {folder}; make it, or name another in server.state")
        )
    else:
        yield _write_and_read(folder)


def _write_and_read(folder: Path) -> Finding:
    file = folder / f"check-{os.getpid()}.tmp"
    written = secrets.token_bytes(_PROBE_BYTES)
    try:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as binary:
                binary.write(written)
                os.fsync(descriptor)
                binary.seek(0)
                read = binary.read()
        finally:
            file.unlink(missing_ok=True)
    except OSError as error:
        return fault(state_sentence(folder, error))
    if read != written:
        return fault(f"{folder}: what was written there could not be read back; check the disk")
    return ok(f"{folder}: written, synced, read back")


def _trail(file: Path) -> Finding:
    """Look and no more: opened here it would be made, and belong to whoever asks."""
    there = file.exists()
    if there and not file.is_file():
        return fault(f"{file} is no file; name another in log.trail")
    if not there and not file.parent.is_dir():
        return fault(f"{file.parent} is not there; make it, or name another file in log.trail")
    if not os.access(file if there else file.parent, os.W_OK, effective_ids=True):
        return fault(f"{file} cannot be written by this user; name another in log.trail, or correct its owner")
    return ok(f"{file}: the audit trail can be written")


def space(ground: Ground) -> Iterator[Finding]:
    """Ask as an import does whether the disk has room for one. A lack of it is raised as Refused."""
    state = ground.settings.server.state
    try:
        folder = existing(state)
        validation.check_room(ground.plan, folder)
    except OSError as error:
        raise StartFault(state_sentence(state, error)) from None
    yield ok(f"{folder}: room for an import")


def clock(ground: Ground) -> Iterator[Finding]:
    """Compare the clock with what is known of the time."""
    now = datetime.fromtimestamp(ground.now, UTC)
    late = [file for file, changed in _state_files(ground) if changed > ground.now + _AHEAD]
    if now.year < _RELEASED:
        yield fault(f"it is {now:%Y-%m-%d} by the clock, before this version was built; set the clock (timedatectl)")
    elif late:
        yield warning(f"{late[0]} was written in the future; was the clock set back? (timedatectl)")
    else:
        yield ok(f"{now:%Y-%m-%d %H:%M} UTC")


def _state_files(ground: Ground) -> Iterator[tuple[Path, float]]:
    with suppress(OSError):  # a folder that cannot be listed is for the check "state"
        for file in ground.settings.server.state.rglob("*"):
            yield file, file.stat().st_mtime


def descriptors(ground: Ground) -> Iterator[Finding]:
    """Compare how many files a process may open here with how many connections a worker is to hold."""
    wanted = ground.settings.server.max_connections
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield ok("enough for max_connections in each worker")
    else:
        yield warning(
            f"a process may open {soft:,} files here, so a worker takes fewer than the {wanted:,} connections of"
            " server.max_connections; raise LimitNOFILE= in the unit, or `ulimit -n`"
        )


def _is_others(folder: Path) -> bool:
    """Whether a folder is another user's, and not to be written by this one."""
    if os.getuid() == 0:  # who can look as anybody
        return False
    return os.geteuid() != folder.stat().st_uid and not os.access(folder, os.W_OK | os.X_OK)


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
