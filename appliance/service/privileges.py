"""From root to a user who can do nothing but this service's work."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config import Server
from appliance.service.unpacked import let_others_read
from appliance.service.wiring import StartFault


def entry_of(user: str) -> pwd.struct_passwd:
    """Give the user that server.user names. Raises StartFault if there is no such user."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise StartFault(f'server.user: there is no user "{user}" here; create it, or name another') from None


def become(user: str, state: Path, trail: Path | None) -> None:
    """Become `user`, for good, and let them own the state folder and the access trail.

    Whatever is read again at a reload, such as secrets and certificates, must then be readable to them.
    Raises StartFault if there is no such user.
    """
    entry = entry_of(user)
    _own(state, entry)
    if trail is not None:
        _hand_over(trail, entry)
    let_others_read()
    # The groups first: only root may set them. setresuid leaves no saved root to come back to.
    os.setgroups(os.getgrouplist(user, entry.pw_gid))
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def _own(state: Path, entry: pwd.struct_passwd) -> None:
    """Let the user own the state folder and what is in it.

    Each step of the walk holds its folder open, so a folder that is swapped for a link leads nowhere.
    """
    for _, _, files, folder in os.fwalk(state):
        os.fchown(folder, entry.pw_uid, entry.pw_gid)
        for name in files:
            _hand_over(name, entry, folder)


def _hand_over(name: str | Path, entry: pwd.struct_passwd, folder: int | None = None) -> None:
    """Let the user own a regular file with one name; a link, of either kind, may lead to a file of somebody else's."""
    try:
        # Without O_NONBLOCK, a FIFO would wait for a writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    try:
        facts = os.fstat(descriptor)
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
            os.fchown(descriptor, entry.pw_uid, entry.pw_gid)
    finally:
        os.close(descriptor)


def owner_of(state: Path) -> pwd.struct_passwd | None:
    """Give the user who owns the state folder and so, under systemd, runs the service; None if that is not another."""
    try:
        owner = state.stat().st_uid
        return pwd.getpwuid(owner) if owner != os.geteuid() else None
    except (OSError, KeyError):
        return None


def eyes_of(server: Server) -> pwd.struct_passwd | None:
    """Give the user as whom the service reads files, if this is root: of server.user, or else of the state folder.

    None if that is who asks. Raises StartFault if server.user names nobody.
    """
    if os.geteuid() != 0:
        return None
    return entry_of(server.user) if server.user else owner_of(server.state)


@contextmanager
def seen_as(user: pwd.struct_passwd) -> Iterator[None]:
    """Be this user for a while, as far as files go; only root can, after `let_others_read`."""
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
