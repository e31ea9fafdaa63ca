"""The standard streams as a caller may leave them: closed, on a full disk, or with no reader."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Final

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_MODES: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_missing() -> None:
    """Open the null device in place of a closed stream: the next file to be opened would get its number.

    Names of files need not be UTF-8: what is not is escaped where it is printed, and not refused where it is typed.
    """
    for name, mode in _MODES.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))  # noqa: SIM115
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def is_output_error(error: OSError) -> bool:
    """Return whether a write to a stream raised this: an error of a file would have the file's name."""
    return error.filename is None and (isinstance(error, BrokenPipeError) or error.errno in _NO_ROOM)


def discard_output() -> None:
    """Drop what is not written yet: Python would try again at its end, and exit with 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
