"""Imports in a child process: whatever a customer file does to its reader, it does not do it to the server."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from pathlib import Path
from typing import Final

import msgspec

from appliance.ingest import resources
from appliance.ingest.importer import import_customers
from appliance.ingest.spec import BadRow, ImportRefused, ImportSpec, Report
from appliance.observe.logs import describe, log
from appliance.system.fork import FAILED, end_with, start_sentence

MAX_MEMORY: Final = 1024**3
MAX_SECONDS: Final = 3600
FILE_FACTOR: Final = 16
"""A snapshot and what is sorted for it are at most so many times the data: short rows have long entries."""
FILE_BASE: Final = 64 * 1024**2


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The import was refused: the sentence, the rows to mend, and whether the same files may be good the next time."""

    sentence: str
    bad: tuple[BadRow, ...] = ()
    transient: bool = True


class Done(msgspec.Struct, frozen=True, tag=True):
    """The import made a new snapshot."""

    report: Report


Result = Done | Failed


class ImportChild:
    """One import in a forked child. `descriptor` becomes readable when it ends; then `result` may be called."""

    def __init__(self, plan: ImportSpec, folder: Path) -> None:
        """Start it. The calling process must have no other threads. Raises ImportRefused if it cannot be started."""
        parent = os.getpid()
        try:
            self.descriptor, write_end = os.pipe()
        except OSError as error:
            raise ImportRefused(start_sentence(error), transient=True) from None
        try:
            self.pid = os.fork()
        except OSError as error:
            os.close(self.descriptor)
            os.close(write_end)
            raise ImportRefused(start_sentence(error), transient=True) from None
        if self.pid == 0:
            os.close(self.descriptor)
            _run(plan, folder, write_end, parent)
        os.close(write_end)

    def result(self) -> Result:
        """Wait for the end and give what became of it. Raises nothing: a child that was killed is a refusal too."""
        with os.fdopen(self.descriptor, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        try:
            result: Result = msgspec.json.decode(said, type=Result)
            return result
        except msgspec.MsgspecError:
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            return Failed(f"the import {how}; what is logged before this may say why, or the system's log")

    def kill(self) -> None:
        """End it at once; the newest snapshot is then what it was."""
        os.kill(self.pid, signal.SIGKILL)


def _run(plan: ImportSpec, folder: Path, write_end: int, parent: int) -> None:
    code = FAILED
    try:
        end_with(parent)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.nice(10)
        limit(plan, folder)
        os.write(write_end, msgspec.json.encode(run_import(plan, folder)))
        code = 0
    except Exception as error:
        log.critical("crash", **describe(error))
    finally:
        os._exit(code)


def limit(plan: ImportSpec, folder: Path) -> None:
    """Bound what this process may use of memory, CPU and disk; a file that wants more is refused."""
    limits = (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_CPU, MAX_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_FACTOR * plan.size() + FILE_BASE),
    )
    for what, wanted in limits:
        hard = resource.getrlimit(what)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (most, most))
    # SQLite sorts in files; they belong where the free space was checked.
    os.environ["SQLITE_TMPDIR"] = str(folder)


def run_import(plan: ImportSpec, folder: Path) -> Result:
    """Import here and now, and give the outcome as a value."""
    try:
        return Done(import_customers(plan, folder, clock=time.time, timer=time.monotonic))
    except ImportRefused as refused:
        return Failed(str(refused), refused.bad, refused.transient)
    except (OSError, sqlite3.Error, MemoryError) as error:
        return Failed(resources.explain(error, folder))
