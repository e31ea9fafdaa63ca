"""Imports in a child process: a file that makes its reader crash or hang does not harm the service."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from appliance.errors import INTERNAL_ERROR
from appliance.ingest import resources
from appliance.ingest.fetch import Known
from appliance.ingest.importer import Unchanged, import_customers, remove_unfinished
from appliance.ingest.locked_folder import locked
from appliance.ingest.spec import BadRow, FetchReport, ImportRefused, ImportSpec, Report
from appliance.observe.logs import describe, log
from appliance.system.fork import become_child, fork_failure, how_it_ended, limit_resource

MAX_MEMORY: Final = 1024**3
MAX_SECONDS: Final = 3600
FILE_FACTOR: Final = 16
"""A snapshot and the temporary files for it take at most so many times the size of the sources (short rows)."""
FILE_BASE: Final = 64 * 1024**2


class ImportFailed(msgspec.Struct, frozen=True, tag=True):
    """The import was refused: why, the rows to correct, and whether the same files may be accepted the next time."""

    sentence: str
    bad: tuple[BadRow, ...] = ()
    transient: bool = True
    login_refused: bool = False


class ImportDone(msgspec.Struct, frozen=True, tag=True):
    """The import made a new snapshot."""

    report: Report


class ImportUnchanged(msgspec.Struct, frozen=True, tag=True):
    """A server returned the rows of the newest snapshot again, or said that they are the same."""

    fetch: FetchReport


ImportResult = ImportDone | ImportFailed | ImportUnchanged


class ImportChild:
    """An import in a forked child. `descriptor` becomes readable when it ends; then call `result`."""

    def __init__(self, spec: ImportSpec, folder: Path, known: Known = MappingProxyType({})) -> None:
        """Start it; `known` is what was fetched before. No other thread of the calling process may be at work.

        Raises ImportRefused if it cannot be started.
        """
        parent = os.getpid()
        self._folder = folder
        try:
            self.descriptor, write_end = os.pipe()
        except OSError as error:
            raise ImportRefused(fork_failure(error), transient=True) from None
        try:
            self.pid = os.fork()
        except OSError as error:
            os.close(self.descriptor)
            os.close(write_end)
            raise ImportRefused(fork_failure(error), transient=True) from None
        if self.pid == 0:
            os.close(self.descriptor)
            _run(spec, folder, known, write_end, parent)
        os.close(write_end)

    def result(self) -> ImportResult:
        """Wait for its end and return the result. Raises nothing: if it was killed, the import failed."""
        with os.fdopen(self.descriptor, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if status:
            with suppress(ImportRefused, OSError), locked(self._folder):  # refused: another import has begun
                remove_unfinished(self._folder)
        try:
            result: ImportResult = msgspec.json.decode(answer, type=ImportResult)
            return result
        except msgspec.MsgspecError:
            return ImportFailed(f"the import {how_it_ended(status)}; see the lines above or the system log")

    def kill(self) -> None:
        """Kill it; the newest snapshot is then what it was."""
        os.kill(self.pid, signal.SIGKILL)


def _run(spec: ImportSpec, folder: Path, known: Known, write_end: int, parent: int) -> None:
    code = INTERNAL_ERROR
    try:
        become_child(parent)
        os.nice(10)
        limit(spec, folder)
        os.write(write_end, msgspec.json.encode(run_import(spec, folder, known)))
        code = 0
    except Exception as error:
        log.critical("crash", **describe(error))
    finally:
        os._exit(code)


def limit(spec: ImportSpec, folder: Path) -> None:
    """Limit the memory, CPU time and file size of this process; a file that needs more is refused."""
    limit_resource(resource.RLIMIT_AS, MAX_MEMORY)
    limit_resource(resource.RLIMIT_CPU, MAX_SECONDS)
    if not spec.is_fetched:  # the size of what will be fetched is unknown; the fetch has its own limit
        limit_resource(resource.RLIMIT_FSIZE, FILE_FACTOR * spec.size() + FILE_BASE)
    # SQLite sorts in temporary files; they belong where the free space was checked.
    os.environ["SQLITE_TMPDIR"] = str(folder)


def run_import(spec: ImportSpec, folder: Path, known: Known = MappingProxyType({})) -> ImportResult:
    """Import in this process, and return the result."""
    try:
        return ImportDone(
            import_customers(
                spec, folder, clock=time.time, timer=time.monotonic, only_if_changed=spec.is_fetched, known=known
            )
        )
    except Unchanged as unchanged:
        return ImportUnchanged(unchanged.fetch)
    except ImportRefused as refused:
        return ImportFailed(str(refused), refused.bad, refused.transient, refused.login_refused)
    except (OSError, sqlite3.Error, MemoryError) as error:
        return ImportFailed(resources.explain(error, folder))
