"""From root to a user who can do nothing but this service's work."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from appliance.service.wiring import StartFault


def become(user: str, state: Path, trail: Path | None) -> None:
    """Become `user`, for good, and let them own the state folder and the access trail.

    Whatever is read again at a reload, such as secrets and certificates, must then be readable to them.
    Raises StartFault if there is no such user.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise StartFault(f'server.user: there is no user "{user}" here; create it, or name another') from None
    for path in (state, *state.rglob("*"), *([trail] if trail is not None else [])):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    # The groups first: only root may set them. setresuid leaves no saved root to come back to.
    os.setgroups(os.getgrouplist(user, entry.pw_gid))
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
