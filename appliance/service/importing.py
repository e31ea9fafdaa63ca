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

from appliance.customers import guards
from appliance.customers.importer import import_customers
from appliance.customers.plan import BadRow, Plan, Refused, Report
from appliance.service.process import FAILED, end_with

MAX_MEMORY: Final = 1024**3
MAX_SECONDS: Final = 3600


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

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Start it. The calling process must have no other threads."""
        self.descriptor, write_end = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
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
            return Failed(f"the import {how}; the file may be too large for the memory it is allowed")

    def kill(self) -> None:
        """End it at once; the newest snapshot is then what it was."""
        os.kill(self.pid, signal.SIGKILL)


def _run(plan: Plan, folder: Path, write_end: int, parent: int) -> None:
    code = FAILED
    try:
        end_with(parent)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.nice(10)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
        # SQLite sorts in files; they belong where the free space was checked.
        os.environ["SQLITE_TMPDIR"] = str(folder)
        os.write(write_end, msgspec.json.encode(run_import(plan, folder)))
        code = 0
    finally:
        os._exit(code)


def run_import(plan: Plan, folder: Path) -> Result:
    """Import here and now, and give the outcome as a value."""
    try:
        return Done(import_customers(plan, folder, clock=time.time, timer=time.monotonic))
    except Refused as refused:
        return Failed(str(refused), refused.bad, refused.transient)
    except (OSError, sqlite3.Error, MemoryError) as error:
        return Failed(guards.explain(error, folder))
