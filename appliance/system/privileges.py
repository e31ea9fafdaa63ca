"""From root to an unprivileged user, who can do nothing but this service's work.

An attacker may control the user of the service. So root opens, creates and gives away nothing by a path that this user
can change meanwhile: it either becomes the user first, for good or for a while, or walks from / by descriptors, follows
no link, and goes on only while every folder belongs to root.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from appliance.errors import StartError
from appliance.system.files import OPEN_FOLDER
from appliance.system.frozen import let_others_read

_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_MOST_CAPABILITIES: Final = 64
_MAKE: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITTEN_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_libc: Final = ctypes.CDLL(None)


def user_entry(user: str) -> pwd.struct_passwd:
    """Return the user that server.user names. Raises StartError if there is none."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise StartError(
            f'server.user: there is no user "{user}" on this machine; create it, or name another'
        ) from None


def drop_privileges(user: pwd.struct_passwd) -> None:
    """Become this user for good, with no capability and no way to get one; only root can.

    Whatever a reload reads again, such as secrets and certificates, must be readable by that user.
    """
    let_others_read()
    for capability in range(_MOST_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    # The groups first: only root may set them. After setresuid there is no saved user id to return to.
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    lock_down()


def lock_down() -> None:
    """Prevent this process and its children from gaining privileges through execve, and from dumping core."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hand_over(user: pwd.struct_passwd, state: Path, trail: Path | None) -> None:
    """Make this user the owner of the state folder and the audit trail, where only root can do so.

    Nothing changes its owner if the path leads through a folder that another user can change, nor below a folder that
    is not root's: there the user creates what is missing, with their own rights. Raises OSError.
    """
    _give_folder(state, user)
    if trail is not None:
        with _trusted(trail.parent) as folder:
            if folder is not None:
                with suppress(FileExistsError):
                    os.close(os.open(trail.name, os.O_WRONLY | _MAKE, 0o600, dir_fd=folder))
                _hand_over(trail.name, user, folder)


def can_give(state: Path) -> bool:
    """Return whether `hand_over` would create this state folder, or change its owner: it is, or would be, root's."""
    with _trusted(_existing(state)) as folder:
        return folder is not None


def _existing(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _give_folder(state: Path, user: pwd.struct_passwd) -> None:
    there = _existing(state)
    missing = state.relative_to(there).parts
    with _trusted(there) as found:
        if found is None:
            return
        folder = os.dup(found)
        try:
            for number, name in enumerate(missing, 1):
                os.mkdir(name, 0o700 if number == len(missing) else 0o755, dir_fd=folder)
                above, folder = folder, os.open(name, OPEN_FOLDER, dir_fd=folder)
                os.close(above)
            _own(folder, user)
        finally:
            os.close(folder)


@contextmanager
def _trusted(path: Path) -> Iterator[int | None]:
    """Open a folder; None unless only root can change it, and every folder on the way to it."""
    with ExitStack() as opened:
        folder = _open_folder("/", None, opened)
        for name in path.resolve().parts[1:]:
            folder = _open_folder(name, folder, opened) if folder is not None else None
        yield folder


def _open_folder(name: str, above: int | None, opened: ExitStack) -> int | None:
    try:
        folder = os.open(name, OPEN_FOLDER, dir_fd=above)
    except OSError:
        return None
    opened.callback(os.close, folder)
    return folder if _is_roots(folder) else None


def _is_roots(folder: int) -> bool:
    """Return whether only root can rename root's files in this folder; so it is in a sticky one, too."""
    facts = os.fstat(folder)
    return facts.st_uid == 0 and (not facts.st_mode & _WRITTEN_BY_OTHERS or bool(facts.st_mode & stat.S_ISVTX))


def _own(folder: int, user: pwd.struct_passwd) -> None:
    """Make the user the owner of a folder of root's and of root's files in it; the folder last, so that it is safe.

    A folder that is not root's, or that others may write, keeps its owner, and so does all that is in it.
    """
    facts = os.fstat(folder)
    if facts.st_uid != 0 or facts.st_mode & _WRITTEN_BY_OTHERS:
        return
    for name in os.listdir(folder):
        try:
            below = os.open(name, OPEN_FOLDER, dir_fd=folder)
        except OSError:
            _hand_over(name, user, folder)
            continue
        try:
            _own(below, user)
        finally:
            os.close(below)
    os.fchown(folder, user.pw_uid, user.pw_gid)


def _hand_over(name: str, user: pwd.struct_passwd, folder: int) -> None:
    """Make the user the owner of a regular file of root's with one name: a link may lead to another user's file."""
    try:
        # Without O_NONBLOCK, a FIFO would wait for a writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    try:
        facts = os.fstat(descriptor)
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and facts.st_uid == 0:
            os.fchown(descriptor, user.pw_uid, user.pw_gid)
    finally:
        os.close(descriptor)


def owner_of(state: Path) -> pwd.struct_passwd | None:
    """Return the user who controls the state folder, and so, under systemd, runs the service.

    That is the owner of the first folder on the way to it that is not root's; they could replace the rest. None if that
    is the user of this process.
    """
    for path in (*_way_to(state.absolute()), *_way_to(state.resolve())):
        try:
            facts = path.lstat()
        except OSError:
            break
        if facts.st_uid not in (0, os.geteuid()):
            return _entry(facts.st_uid, facts.st_gid)
    return None


def _way_to(path: Path) -> tuple[Path, ...]:
    return (*reversed(path.parents), path)


def _entry(uid: int, gid: int) -> pwd.struct_passwd:
    """Return the entry of a user, or a made-up one for a user without an entry, as in containers."""
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return pwd.struct_passwd((f"user {uid}", "x", uid, gid, "", "/", ""))


def file_user(user: str, state: Path) -> pwd.struct_passwd | None:
    """Return the user that the service reads files as, if this is root: `user`, or else the state folder's owner.

    `user` is what server.user names, or "". None if that is the user of this process. Raises StartError if there is no
    such user.
    """
    if os.geteuid() != 0:
        return None
    return user_entry(user) if user else owner_of(state)


@contextmanager
def impersonate(user: pwd.struct_passwd) -> Iterator[None]:
    """Open files as this user within the block; only root can, after `let_others_read`."""
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


@contextmanager
def as_owner(user: pwd.struct_passwd | None) -> Iterator[None]:
    """Open files as this user within the block; as the user of this process, if there is none."""
    with nullcontext() if user is None else impersonate(user):
        yield
