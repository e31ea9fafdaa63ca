"""From the operator's sources to a new snapshot, in steps of which each leaves the last snapshot whole.

    fetch        copy remote sources into files, which are read in their place
    build        fill NUMBER.tmp from the sources; refuse what is not complete
    verify       read everything back
    sync         wait until the file is on the disk
    publish      rename it to NUMBER.db: from now on it is the newest
    sync folder  wait until its name is on the disk
    prune        remove all but the newest two

An import that is killed before it publishes leaves a NUMBER.tmp, which the next one removes; nobody reads it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from appliance.customers import snapshot, snapshot_store
from appliance.customers.snapshot import Snapshot, SnapshotError, SnapshotMetadata
from appliance.ingest import marks, resources, validation
from appliance.ingest.fetch import Known, fetch
from appliance.ingest.fingerprint import fingerprint, versions
from appliance.ingest.locked_folder import locked
from appliance.ingest.snapshot_builder import Builder
from appliance.ingest.sources.base import SourceError
from appliance.ingest.spec import FetchReport, ImportRefused, ImportSpec, Report
from appliance.ingest.stats import ImportStats
from appliance.system.files import open_private, sync

KEEP: Final = 2
"""Generations kept: the newest, and the one that a worker may still be reading."""


@dataclass(frozen=True)
class Import:
    """One import, between its steps."""

    spec: ImportSpec
    folder: Path
    generation: int
    clock: Callable[[], float]
    progress: Callable[[int, float], None]
    last: SnapshotMetadata | None
    stats: ImportStats = field(default_factory=ImportStats)

    @property
    def unfinished(self) -> Path:
        """The file until it is published."""
        return self.folder / f"{self.generation:08}.tmp"


def import_customers(
    spec: ImportSpec,
    folder: Path,
    *,
    clock: Callable[[], float],
    timer: Callable[[], float],
    progress: Callable[[int, float], None] = lambda rows, share: None,
    last: SnapshotMetadata | None = None,
    only_if_changed: bool = False,
    known: Known = MappingProxyType({}),
    fetching: Callable[[int], None] = lambda size: None,
) -> Report:
    """Read what `spec` names and make the next generation in `folder`.

    `clock` returns seconds since 1970, `timer` seconds for measuring; `progress` is called from time to time with the
    number of customers and the share of the source that have been read. `last` is what to compare with if `folder` has
    no snapshot by this spec.
    Raises ImportRefused; the newest snapshot is then what it was. With `only_if_changed`, raises Unchanged if it has
    the same data, whose age then counts from now; `known`, from the report of before, may then save the fetch.
    `fetching` is called with the number of bytes that have been fetched.
    """
    started = timer()
    with locked(folder):
        generation = max(snapshot.generations(folder), default=0) + 1
        try:
            remove_unfinished(folder)
            if spec.is_fetched:
                resources.check_room_to_fetch(folder)
            fetched = fetch(spec, folder, known if only_if_changed else {}, fetching)
            seconds = timer() - started
            running = Import(fetched.spec, folder, generation, clock, progress, last)
            if only_if_changed and _confirm(running):
                raise Unchanged(FetchReport(round(seconds, 3), fetched.tables, fetched.is_whole))
            if not fetched.is_whole:  # something else has changed, or the snapshot is gone
                fetched = fetch(spec, folder, {}, fetching)
                running = replace(running, spec=fetched.spec)
                seconds = timer() - started
            for step in STEPS:
                step(running)
        except SourceError as fault:
            raise ImportRefused(str(fault), transient=fault.transient, login_refused=fault.login_refused) from fault
        except SnapshotError as fault:
            raise ImportRefused(str(fault), transient=True) from fault
        except (OSError, sqlite3.Error, MemoryError) as error:
            raise ImportRefused(resources.explain(error, folder), transient=True) from error
        finally:
            with suppress(OSError):  # the folder may be gone, or may not be a folder any more
                remove_unfinished(folder)
    report = running.stats.report(generation, timer() - started - seconds)
    if not spec.is_fetched:
        return report
    return msgspec.structs.replace(report, fetch=FetchReport(round(seconds, 3), fetched.tables, whole=True))


class Unchanged(Exception):
    """The newest snapshot has the same data."""

    def __init__(self, fetch: FetchReport) -> None:
        super().__init__()
        self.fetch = fetch


def _confirm(running: Import) -> bool:
    """Return whether the newest snapshot has the same data, after recording when it was read this time."""
    known = snapshot_store.open_newest(running.folder, running.spec.digest())
    if known is None:
        return False
    known.close()
    if known.metadata.fingerprint != fingerprint(running.spec):
        return False
    as_of = min(each.as_of for each in versions(running.spec, known.metadata, running.clock()).values())
    new = running.unfinished
    with os.fdopen(open_private(new, os.O_WRONLY | os.O_EXCL), "w") as output:
        output.write(repr(as_of))
    new.rename(snapshot.confirmation_of(snapshot.file_of(running.folder, known.generation)))
    return True


def remove_unfinished(folder: Path) -> None:
    """Remove what an import that was killed has left. The folder must be locked."""
    for leftover in folder.glob("*.tmp"):
        leftover.unlink(missing_ok=True)


def _build(running: Import) -> None:
    spec, folder = running.spec, running.folder
    last = snapshot_store.newest(folder, spec.digest()) or running.last
    before = fingerprint(spec)
    marks.check(spec)
    resources.check_room(spec, folder)
    os.close(open_private(running.unfinished, os.O_WRONLY | os.O_EXCL))
    since = versions(spec, _newest_of_any_spec(folder), running.clock())
    Builder(spec, running.unfinished, running.stats, running.progress).build(since, before)
    if fingerprint(spec) != before:
        raise ImportRefused(
            f"{spec.source} changed while it was read; write it beside and rename it into place", transient=True
        )
    validation.check(spec, running.stats, last)


def _newest_of_any_spec(folder: Path) -> SnapshotMetadata | None:
    known = next(snapshot_store.open_all(folder), None)
    if known is None:
        return None
    known.close()
    return known.metadata


def _verify(running: Import) -> None:
    with closing(Snapshot(running.unfinished, running.generation)) as written:
        written.check()


def _sync(running: Import) -> None:
    sync(running.unfinished)


def _publish(running: Import) -> None:
    running.unfinished.rename(snapshot.file_of(running.folder, running.generation))


def _sync_folder(running: Import) -> None:
    sync(running.folder)


def _prune(running: Import) -> None:
    for old in snapshot.generations(running.folder)[KEEP:]:
        file = snapshot.file_of(running.folder, old)
        for each in (file, snapshot.confirmation_of(file)):
            each.unlink(missing_ok=True)


STEPS: Final[tuple[Callable[[Import], None], ...]] = (_build, _verify, _sync, _publish, _sync_folder, _prune)
