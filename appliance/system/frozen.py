"""What is different in the packaged executable: it is two processes, and its files are in a folder made at its start.

PyInstaller's bootloader unpacks into `_MEI`, its pid as eight hexadecimal digits, and six letters; it starts this
program as its child, and removes the folder when that has ended. If it is killed, it does neither.

A cleaner of temporary files may empty the folder of a running service. It holds Python's own modules and the packages'
extension modules; all other modules are in the executable. So before the first fork the extension modules are loaded
and the library is read, and what is imported later, such as the codec of a new file, comes from memory.
"""

from __future__ import annotations

import contextlib
import importlib
import marshal
import os
import re
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_loader
from io import BytesIO
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from appliance.observe.logs import log
from appliance.system.fork import signal_on_parent_death

LIBRARY: Final = "base_library.zip"
EVERY: Final = 10.0
"""Seconds between two checks of the folder."""

_PYC_HEADER: Final = 16  # bytes before the code (PEP 552)
_UNPACKED: Final = re.compile(r"_MEI([0-9a-f]{8})\w{6}")
_REMOVED: Final = re.compile(r"^\S+ \S+ \S+ \S+ \S+ +(/.*/_MEI[0-9a-f]{8}\w{6})/.* \(deleted\)$", re.MULTILINE)


@contextlib.contextmanager
def as_child_of_bootloader(environ: Mapping[str, str]) -> Iterator[None]:
    """Leave no process and no folder behind, whichever process is killed within the block.

    If the bootloader is killed, the service stops in good order, and its folder is removed here. Folders of bootloaders
    that were killed before are removed from systemd's cache folder, which is the service's own, but not from /tmp.
    Without a bootloader this does nothing.
    """
    folder = getattr(sys, "_MEIPASS", None)
    if folder is None:
        yield
        return
    keep_unpacked()
    bootloader = os.getppid()
    signal_on_parent_death(bootloader, signal.SIGTERM)
    if cache := environ.get("CACHE_DIRECTORY"):
        remove_stale(Path(cache))
    try:
        yield
    finally:
        if os.getppid() != bootloader:
            shutil.rmtree(folder, ignore_errors=True)


class _Library(MetaPathFinder, InspectLoader):
    """The modules in a zip file of compiled ones, from memory."""

    def __init__(self, file: Path) -> None:
        self._zip = zipfile.ZipFile(BytesIO(file.read_bytes()))
        self._names = frozenset(self._zip.namelist())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that is in the file."""
        name = self._name_of(fullname)
        return spec_from_loader(fullname, self, is_package=name.endswith("/__init__.pyc")) if name else None

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of a module that is in the file."""
        data = self._zip.read(self._name_of(fullname))[_PYC_HEADER:]
        code: CodeType = marshal.loads(data)  # noqa: S302  # of this program, as any other module
        return code

    def get_source(self, fullname: str) -> None:
        """Return nothing: there is only compiled code."""

    def _name_of(self, fullname: str) -> str:
        path = fullname.replace(".", "/")
        return next((name for name in (f"{path}.pyc", f"{path}/__init__.pyc") if name in self._names), "")


def keep_unpacked() -> None:
    """Make what was unpacked importable even after its folder is emptied. From source this does nothing."""
    if not hasattr(sys, "_MEIPASS"):
        return
    folder = Path(sys._MEIPASS)
    sys.meta_path.insert(0, _Library(folder / LIBRARY))
    for name in _extension_modules(folder):
        with contextlib.suppress(ImportError):  # a module without its library was never usable
            importlib.import_module(name)


def _extension_modules(folder: Path) -> Iterator[str]:
    roots = sorted((Path(path) for path in sys.path), key=lambda path: -len(path.parts))
    for file in sorted(folder.rglob("*.so")):
        if file.name.endswith(tuple(EXTENSION_SUFFIXES)):
            root = next((root for root in roots if file.is_relative_to(root)), folder)
            yield ".".join((*file.relative_to(root).parent.parts, file.name.partition(".")[0]))


class UnpackedWatch:
    """Checks now and then whether the unpacked files are still there, and logs once if they are not."""

    def __init__(self, timer: Callable[[], float], folder: Path | None = None) -> None:
        """`timer` returns seconds; `folder` is that of this executable, if it is one."""
        if folder is None and hasattr(sys, "_MEIPASS"):
            folder = Path(sys._MEIPASS)
        self._timer = timer
        self._folder = folder
        self._files = tuple(path for path in folder.rglob("*") if path.is_file()) if folder is not None else ()
        self._next = timer() + EVERY

    def look(self) -> None:
        """Check, if it is time to."""
        if not self._files or self._timer() < self._next:
            return
        self._next = self._timer() + EVERY
        missing = sum(map(_is_gone, self._files))
        if missing:
            log.warning(
                "unpacked_files_gone",
                folder=str(self._folder),
                message=f"{missing} of {len(self._files)} files were removed; the service goes on without them",
                todo=GONE_TODO,
            )
            self._files = ()


def _is_gone(file: Path) -> bool:
    """Return whether a file is missing; one that this user may not look for is not known to be."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


GONE_TODO: Final = (
    "keep what cleans temporary files away from it (tmpfiles.d: x /tmp/_MEI*), or start it with TMPDIR set to a folder"
    " of its own; then restart it when it suits you"
)


def emptied_folder(process: int) -> str:
    """Return the folder of a running executable if files in it were removed, else "", also if that cannot be told.

    The kernel marks loaded files that were removed (proc_pid_maps(5)).
    """
    with contextlib.suppress(OSError):
        return emptied_in(Path(f"/proc/{process}/maps").read_text(errors="replace"))
    return ""


def emptied_in(maps: str) -> str:
    """Return the same for a process with these maps."""
    found = _REMOVED.search(maps)
    return found[1] if found else ""


def let_others_read() -> None:
    """Make what was unpacked for this process readable by any user: called by root, before it becomes another.

    The files stay root's. Without this, a module that is imported later could not be found.
    """
    if folder := getattr(sys, "_MEIPASS", None):
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o755)


def remove_stale(folder: Path) -> None:
    """Remove what processes that have ended had unpacked into `folder`. Raises nothing."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (found := _UNPACKED.fullmatch(path.name)) and not Path(f"/proc/{int(found[1], 16)}").exists():
                shutil.rmtree(path, ignore_errors=True)
