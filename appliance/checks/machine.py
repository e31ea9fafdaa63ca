"""The machine: state folder, free space, clock, descriptors."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from appliance import __released__
from appliance.bootstrap.state_folder import read_log_key, state_sentence
from appliance.checks.context import CheckContext, existing
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.registry import check
from appliance.errors import StartError
from appliance.ingest import resources
from appliance.system.privileges import as_owner, can_give

_AHEAD: Final = 60.0
_PROBE_BYTES: Final = 4096


@check("state", at_start=True, as_root=True)
def state(context: CheckContext) -> Iterator[Finding]:
    """The state folder can be written, synced and read back, and the audit trail can be written.

    This is checked as the service's user, except for what root, or systemd, does at the start: it creates the folder,
    or gives it to that user.
    """
    state = context.settings.server.state
    user = context.file_user.pw_name if context.file_user is not None and can_give(state) else ""
    with as_owner(context.file_user):
        try:
            yield from _state(context, user)
        except OSError as error:  # a folder on the way that this user may not enter
            yield fault(state_sentence(state, error))


def _state(context: CheckContext, given_to: str) -> Iterator[Finding]:
    if context.settings.log.trail is not None:
        yield _trail(context.settings.log.trail)
    state = context.settings.server.state
    folder = existing(state)
    if given_to:
        if not os.access(state.parent if folder == state else folder, os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        yield ok(f"{state} will be {'given to' if folder == state else 'created for'} the user {given_to} at the start")
    elif _is_others(folder):
        owner = _name_of(folder.stat().st_uid)
        yield not_checked(f"{folder} belongs to {owner}; only that user, or root, can check it")
    elif folder != state:
        usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
        sentence = f"{state} does not exist yet, and"
        yield (
            ok(f"{sentence} will be created")
            if usable
            else fault(f"{sentence} cannot be created in {folder}; create it, or choose another in server.state")
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
        return fault(f"{folder}: data written there could not be read back; check the disk")
    read_log_key(folder)  # raises what is wrong with it
    return ok(f"{folder}: written, synced, read back")


def _trail(file: Path) -> Finding:
    """Check without opening it: that would create it, owned by whoever runs the check."""
    there = file.exists()
    if there and not file.is_file():
        return fault(f"{file} is not a regular file; choose another in log.trail")
    if not there and not file.parent.is_dir():
        return fault(f"{file.parent} does not exist; create it, or choose another file in log.trail")
    if not os.access(file if there else file.parent, os.W_OK, effective_ids=True):
        return fault(f"this user cannot write to {file}; choose another in log.trail, or correct its owner")
    return ok(f"{file}: the audit trail can be written")


@check("space", at_start=True)
def space(context: CheckContext) -> Iterator[Finding]:
    """The disk has enough space for an import."""
    state = context.settings.server.state
    try:
        folder = existing(state)
        resources.check_room(context.spec, folder)
    except OSError as error:
        raise StartError(state_sentence(state, error)) from None
    yield ok(f"{folder}: enough space for an import")


@check("clock", at_start=True)
def clock(context: CheckContext) -> Iterator[Finding]:
    """The clock is not earlier than this build, and no state file is from the future."""
    now = datetime.fromtimestamp(context.now, UTC)
    late = [file for file, changed in _state_files(context) if changed > context.now + _AHEAD]
    if now.date() < date.fromisoformat(__released__):
        yield fault(f"the system clock says {now:%Y-%m-%d}, earlier than this build; set the clock (timedatectl)")
    elif late:
        yield warning(f"{late[0]} has a modification time in the future; was the clock set back? (timedatectl)")
    else:
        yield ok(f"{now:%Y-%m-%d %H:%M} UTC")


def _state_files(context: CheckContext) -> Iterator[tuple[Path, float]]:
    with suppress(OSError):  # the check "state" reports a folder that cannot be listed
        for file in context.settings.server.state.rglob("*"):
            yield file, file.stat().st_mtime


@check("descriptors", at_start=True)
def descriptors(context: CheckContext) -> Iterator[Finding]:
    """The limit of open files is enough for `max_connections`."""
    wanted = context.settings.server.max_connections
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield ok("enough for server.max_connections in each worker")
    else:
        yield warning(
            f"the limit is {soft:,} open files per process, so a worker accepts fewer connections than"
            f" server.max_connections ({wanted:,}); raise LimitNOFILE= in the unit, or `ulimit -n`"
        )


def _is_others(folder: Path) -> bool:
    """Return whether a folder belongs to another user, and this one cannot write to it."""
    if os.getuid() == 0:  # who can impersonate any user
        return False
    return os.geteuid() != folder.stat().st_uid and not os.access(folder, os.W_OK | os.X_OK)


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
