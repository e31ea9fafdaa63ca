"""The user that opens files, for sentences about files that it cannot read."""

from __future__ import annotations

import os
import pwd


def account() -> str:
    """Return the user that opens files now, such as "the user sidebard", or its number if it has no name here."""
    user = os.geteuid()
    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"the user with id {user}"


def todo_of(error: OSError) -> str:
    """Return what to do about a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return f"put it there, readable by {account()}"
    if isinstance(error, PermissionError):
        return f"let {account()} read it and enter the folders above it"
    return "correct the file, or its name in the config"
