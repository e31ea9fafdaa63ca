"""What is different in the packaged program, whose files may go away or be replaced while it runs.

    one file    two processes: PyInstaller's bootloader unpacks into `_MEI`, its pid as eight hexadecimal digits, and
                six letters; it starts this program as its child, and removes the folder when that has ended. If it is
                killed, it does neither. A cleaner of temporary files may empty the folder of a running service.
    a folder    of the .deb and the .rpm: one process, and nothing to unpack. An upgrade replaces the files under the
                old version, which goes on if the new one refuses its config.

In both, most modules are in the executable, which is read through /proc/self/exe (packaging/bootloader.patch): that is
the same file even after it was replaced, unless it was started through the dynamic loader. The folder holds Python's
own modules in a zip file, and extension modules. So before the first fork the zip file is mapped and the libraries are
opened (dlopen(3)), and what is imported later, such as the codec of a new file, comes from there.
"""

from __future__ import annotations

import contextlib
import ctypes
import marshal
import mmap
import os
import re
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, TYPE_CHECKING, Final, cast

from appliance.observe.logs import log
from appliance.system.fork import signal_on_parent_death

if TYPE_CHECKING:
    from importlib.abc import Loader

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
    In the packages' folder this only keeps the files, and from source it does nothing.
    """
    keep_files()
    folder = unpacked_folder()
    if folder is None:
        yield
        return
    bootloader = os.getppid()
    signal_on_parent_death(bootloader, signal.SIGTERM)
    if cache := environ.get("CACHE_DIRECTORY"):
        remove_stale(Path(cache))
    try:
        yield
    finally:
        if os.getppid() != bootloader:
            shutil.rmtree(folder, ignore_errors=True)


def is_packaged() -> bool:
    """Return whether this is a packaged program, and not run from source."""
    return hasattr(sys, "_MEIPASS")


def unpacked_folder() -> Path | None:
    """Return the folder that the one file has unpacked itself into; None from source and in the packages' folder."""
    folder = Path(getattr(sys, "_MEIPASS", ""))
    return folder if _UNPACKED.fullmatch(folder.name) else None


class _Mapped(mmap.mmap):
    """A mapped file, with what zipfile asks of one before Python 3.13."""

    def seekable(self) -> bool:
        return True


class _KeptFiles:
    """The modules in a zip file of compiled ones, and extension modules whose libraries are open."""

    def __init__(self, library: Path, extensions: Mapping[str, Path]) -> None:
        with library.open("rb") as file:
            mapped = _Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._zip = zipfile.ZipFile(cast("IO[bytes]", mapped))
        self._names = frozenset(self._zip.namelist())
        self._extensions = extensions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that is in the file."""
        if file := self._extensions.get(fullname):
            return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))
        name = self._name_of(fullname)
        if not name:
            return None
        return spec_from_loader(fullname, cast("Loader", self), is_package=name.endswith("/__init__.pyc"))

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of a module that is in the file."""
        data = self._zip.read(self._name_of(fullname))[_PYC_HEADER:]
        code: CodeType = marshal.loads(data)  # noqa: S302  # of this program, as any other module
        return code

    def create_module(self, spec: ModuleSpec) -> None:
        """Return nothing: any module will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the code of a module that is in the file."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102  # as any loader does

    def get_source(self, fullname: str) -> None:
        """Return nothing: there is only compiled code."""

    def _name_of(self, fullname: str) -> str:
        path = fullname.replace(".", "/")
        return next((name for name in (f"{path}.pyc", f"{path}/__init__.pyc") if name in self._names), "")


def keep_files() -> None:
    """Make every module importable even after the program's files are gone or replaced. From source: do nothing.

    A library that is open is found by its name, whatever file has that name now. To import all of them instead would
    take 17 ms and 11 MB.
    """
    if not is_packaged():
        return
    folder = Path(sys._MEIPASS)  # type: ignore[attr-defined]  # PyInstaller's
    opened = {}
    for name, file in _extension_modules(folder):
        with contextlib.suppress(OSError):  # a module without its library was never usable
            if name not in sys.modules:
                ctypes.CDLL(str(file))
                opened[name] = file
    sys.meta_path.insert(0, _KeptFiles(folder / LIBRARY, opened))


def _extension_modules(folder: Path) -> Iterator[tuple[str, Path]]:
    roots = sorted((Path(path) for path in sys.path), key=lambda path: -len(path.parts))
    for file in sorted(folder.rglob("*.so")):
        if file.name.endswith(tuple(EXTENSION_SUFFIXES)):
            root = next((root for root in roots if file.is_relative_to(root)), folder)
            yield ".".join((*file.relative_to(root).parent.parts, file.name.partition(".")[0])), file


class UnpackedWatch:
    """Checks now and then whether the unpacked files are still there, and logs once if they are not."""

    def __init__(self, timer: Callable[[], float], folder: Path | None = None) -> None:
        """`timer` returns seconds; `folder` is that of this executable, if it is one file."""
        if folder is None:
            folder = unpacked_folder()
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
    if folder := unpacked_folder():
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def remove_stale(folder: Path) -> None:
    """Remove what processes that have ended had unpacked into `folder`. Raises nothing."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (found := _UNPACKED.fullmatch(path.name)) and not Path(f"/proc/{int(found[1], 16)}").exists():
                shutil.rmtree(path, ignore_errors=True)
