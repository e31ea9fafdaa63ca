"""From the operator's file to a new snapshot, in steps of which each leaves the last snapshot whole."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.customers import snapshot, snapshot_store
from appliance.customers.snapshot import Snapshot, SnapshotFault, SnapshotMetadata, SourceVersion
from appliance.ingest import validation
from appliance.ingest.fingerprint import fingerprint, wal_of
from appliance.ingest.snapshot_builder import Builder, ImportStats
from appliance.ingest.sources.base import SourceFault
from appliance.ingest.spec import ImportRefused, ImportSpec, Report
from appliance.system.files import fingerprint_of

KEEP: Final = 2
"""Generations kept: the newest, and the one that a worker may still be reading."""

STEPS: Final = ("build", "verify", "sync", "rename", "sync folder", "prune")


def import_customers(
    spec: ImportSpec,
    folder: Path,
    *,
    clock: Callable[[], float],
    timer: Callable[[], float],
    at_step: Callable[[str], None] = lambda step: None,
    progress: Callable[[int, float], None] = lambda rows, share: None,
    last: SnapshotMetadata | None = None,
) -> Report:
    """Read what `spec` names and make the next generation in `folder`.

    `clock` gives seconds since 1970, `timer` seconds for measuring; `at_step` is called before each of STEPS, and
    `progress` now and then, with the number of customers and the share of the file that were read. `last` is what to
    compare with if `folder` has no snapshot by this spec.
    Raises ImportRefused; the newest snapshot is then what it was.
    """
    started = timer()
    stats = ImportStats()
    with _locked(folder):
        generation = max(snapshot.generations(folder), default=0) + 1
        unfinished = folder / f"{generation:08}.tmp"
        try:
            for leftover in folder.glob("*.tmp"):
                leftover.unlink()
            at_step("build")
            _build(spec, unfinished, stats, clock, progress, last)
            at_step("verify")
            with closing(Snapshot(unfinished, generation)) as written:
                written.check()
            at_step("sync")
            _sync(unfinished)
            at_step("rename")
            unfinished.rename(snapshot.file_of(folder, generation))
            at_step("sync folder")
            _sync(folder)
            at_step("prune")
            for old in snapshot.generations(folder)[KEEP:]:
                snapshot.file_of(folder, old).unlink(missing_ok=True)
        except SourceFault as fault:
            raise ImportRefused(str(fault), transient=fault.transient) from fault
        except SnapshotFault as fault:
            raise ImportRefused(str(fault), transient=True) from fault
        except (OSError, sqlite3.Error, MemoryError) as error:
            raise ImportRefused(validation.explain(error, folder), transient=True) from error
        finally:
            with suppress(OSError):  # the folder may be gone, or something else by now
                unfinished.unlink(missing_ok=True)
    return stats.report(generation, timer() - started)


def _build(
    spec: ImportSpec,
    unfinished: Path,
    stats: ImportStats,
    clock: Callable[[], float],
    progress: Callable[[int, float], None],
    last: SnapshotMetadata | None,
) -> None:
    """Fill `unfinished` with what the sources hold, and refuse it if too much is missing."""
    folder = unfinished.parent
    last = snapshot_store.newest(folder, spec.digest()) or last
    before = fingerprint(spec)
    validation.check_before(spec, folder)
    os.close(_create(unfinished, os.O_WRONLY | os.O_EXCL))
    Builder(spec, unfinished, stats, progress).build(_versions(spec, folder, clock()), before)
    if fingerprint(spec) != before:
        raise ImportRefused(
            f"{spec.source} changed while it was read; write it beside and rename it into place", transient=True
        )
    validation.check_after(spec, stats, last)


def _versions(spec: ImportSpec, folder: Path, now: float) -> dict[str, SourceVersion]:
    """Give since when each file is what it is: an unchanged one does not grow younger, however often it is read.

    Unless the clock was set back since: no file was read later than `now`.
    """
    known = next(snapshot_store.open_all(folder), None)
    versions = known.facts.versions if known else {}
    if known:
        known.close()
    seen = {str(file): fingerprint_of((file, wal_of(file))) for file in spec.files}
    return {
        file: SourceVersion(now_like, min(versions[file].as_of, now))
        if file in versions and versions[file].fingerprint == now_like
        else SourceVersion(now_like, now)
        for file, now_like in seen.items()
    }


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two importers never write at once. Raises ImportRefused if another one does."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = _create(folder / "lock", os.O_RDWR)
    except OSError as error:
        raise ImportRefused(
            f"{folder} cannot be written: {error.strerror}; correct server.state or its owner", transient=True
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImportRefused("another import is running; wait for it to end", transient=True) from None
        yield
    finally:
        os.close(descriptor)


def _create(file: Path, flags: int) -> int:
    """Open a file, made if it is not there, for its owner alone: the folder's owner, even if this is root.

    Only what is made here changes its owner, and no link is followed, neither at the file nor in place of its folder.
    """
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(file.name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return os.open(file.name, flags, dir_fd=folder)
        if os.geteuid() == 0:
            owner = os.fstat(folder)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor
    finally:
        os.close(folder)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
