"""The map of ids as its one writer, the steward, keeps it; customers/id_map.py has the files and what readers see.

state of the files                            and after a crash
a change is being appended                    its line is cut off unless it is whole; nobody was told that it is there
it is synced                                  it is there; only now it is confirmed
the next base is being written (.tmp)         it is removed; the old generation is whole
the next base has its name, its journal not   the base is written over by the next attempt
its journal has its name                      it is the newest; what is left of the old one is removed

what fails                                    and then
an append, or its sync                        nothing of it counts; the next change makes a new generation first
writing the next base                         the old generation goes on; tried again when its journal is a tenth longer
naming the next journal, or syncing its name  whichever journal is the newest now is opened, and its name synced, before
                                              anything more is confirmed
removing the old generation                   its readers see nothing new; tried again with every change
reading the base                              a new generation is made of what can be read, and the change tried again
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from appliance.customers.id_map import (
    INSERT,
    SCHEMA,
    IdMap,
    IdMapError,
    base_of,
    journal_of,
    line_of,
    newest,
    open_base,
    read_line,
    readable,
    row_of,
)
from appliance.customers.ids import DAY, Change, Known, Result, apply, has_expired
from appliance.observe.logs import log
from appliance.system.files import open_private, sync

_NONE: Final = -1
MAX_LINES: Final = 10_000
"""Changed ids after which a new base is made: what every worker holds in memory of the journal, about 3 MB."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""The same of the journal's length: a few ids that change again and again are never so many."""


class IdStore:
    """Keeps the map. To be used by one process at a time."""

    def __init__(self, folder: Path, now: float) -> None:
        """Open the map in `folder`, made if it is missing, and mend what a crash has left. Raises OSError."""
        self._folder = folder
        self._journal = -1
        self._is_spoilt = False  # what is in the journal may not be what is on the disk
        self._generation = _NONE
        self._known = 0
        self._has_older = False  # files of an older generation could not be removed
        self._compact_at = 0  # bytes of the journal before which it is not tried again
        folder.mkdir(mode=0o700, exist_ok=True)
        for leftover in folder.glob("*.tmp"):
            leftover.unlink()
        self._map = IdMap(folder)
        try:
            self._start(now)
        except BaseException:
            self.close()
            raise

    def _start(self, now: float) -> None:
        try:
            self._map.refresh()
            damaged = self._map.damaged_lines
            if not self._map.generation:
                self._begin(1)
            self._open()
        except IdMapError as error:
            self._salvage(error, now)
            return
        if damaged:
            log.error("ids_damaged", why=f"{damaged} lines of the journal could not be read", todo="check the disk")
            self.compact(now)

    def close(self) -> None:
        """Close the files."""
        self._map.close()
        self._close_journal()

    @property
    def known(self) -> int:
        """Of how many ids something is known."""
        return self._known

    @property
    def map(self) -> IdMap:
        """The map, for reading."""
        return self._map

    def find(self, customer: int) -> Known | None:
        """Return what is held of an id; None: nothing, or it cannot be read."""
        with suppress(IdMapError, OSError):
            return self._map.find(customer)
        return None

    def apply(self, changes: Sequence[Change], now: float) -> list[Result]:
        """Apply some changes in their order; return what each has led to. When this returns, all are on the disk.

        Raises OSError if they cannot be written; then none of them is there.
        """
        try:
            results = self._apply(changes, now)
        except IdMapError as error:  # nothing is confirmed yet, and what may be there already changes nothing again
            self._salvage(error, now)
            results = self._apply(changes, now)
        is_long = len(self._map.changed) >= MAX_LINES or self._map.end >= MAX_BYTES
        if is_long and self._map.end >= self._compact_at:
            try:
                self.compact(now)
            except (OSError, IdMapError):  # no room: the journal goes on
                self._compact_at = self._map.end + self._map.end // 10
        return results

    def _apply(self, changes: Sequence[Change], now: float) -> list[Result]:
        self._map.refresh()
        if self._map.generation != self._generation:  # somebody has removed the files: all of it is forgotten
            self._restore()
        if self._has_older:
            self._remove_older()
        if self._is_spoilt:
            self.compact(now)
        lines: list[bytes] = []
        results: list[Result] = []
        held: dict[int, Known | None] = {}
        for change in changes:
            before = held[change.customer] if change.customer in held else self._map.find(change.customer)
            result, after = apply(before, change, now)
            results.append(result)
            held[change.customer] = after
            if after is not None and after != before:
                lines.append(line_of(change.customer, after))
        if lines:
            earlier = {customer: self._map.find(customer) for customer in held}
            self._append(b"".join(lines))
            self._map.refresh()
            self._known += sum(int(_is_known(held[one])) - _is_known(earlier[one]) for one in held)
        return results

    def forget_unseen(self, since: float, now: float) -> int:
        """Forget the ids that were not seen since then; return how many. Raises OSError and IdMapError."""
        day = int(since // DAY)
        try:
            unseen = frozenset(self._map.unseen_since(day))
        except IdMapError as error:
            self._salvage(error, now)
            unseen = frozenset(self._map.unseen_since(day))
        if unseen:
            self.compact(now, without=unseen)
        return len(unseen)

    def compact(self, now: float, without: Collection[int] = ()) -> None:
        """Make a new generation, without marks that have expired. Raises OSError; the old one may stay then."""
        generation = self._map.generation + 1
        try:
            self._write_base(generation, (entry for entry in self._map.all() if entry[0] not in without), now)
        except IdMapError as error:
            self._salvage(error, now, without)
        else:
            self._change_to(generation)

    def _salvage(self, error: IdMapError, now: float, without: Collection[int] = ()) -> None:
        """Make a new generation of what can be read of a damaged one. Raises OSError."""
        log.error("ids_damaged", why=str(error), todo="ids are learned anew by webhooks and messages")
        old = newest(self._folder)
        kept: dict[int, Known] = {}
        with suppress(sqlite3.Error), closing(open_base(base_of(self._folder, old))) as base:
            kept = readable(base)
        with suppress(FileNotFoundError):
            for text in journal_of(self._folder, old).read_bytes().split(b"\n")[:-1]:
                if (line := read_line(text)) is not None:
                    kept[line.customer] = line.known
        self._write_base(old + 1, (entry for entry in kept.items() if entry[0] not in without), now)
        self._change_to(old + 1)

    def _change_to(self, generation: int) -> None:
        """Make a new generation, whose base is written, the newest. Raises OSError and IdMapError."""
        try:
            self._begin(generation)
        finally:  # it may have failed after the journal had its name, which readers and a restart go by
            self._map.forget()
            self._open()
            if self._map.generation == generation:
                self._is_spoilt = False

    def _restore(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if not self._map.generation:
            self._begin(1)
        self._open()

    def _write_base(self, generation: int, entries: Iterable[tuple[int, Known]], now: float) -> None:
        """Write a base beside, sync it, and give it its name."""
        unfinished = self._folder / f"{generation:08}.db.tmp"
        unfinished.unlink(missing_ok=True)
        try:
            os.close(open_private(unfinished, os.O_WRONLY | os.O_EXCL))
            database = sqlite3.connect(unfinished, isolation_level=None)
            try:
                database.execute("PRAGMA journal_mode = OFF")
                database.execute("PRAGMA synchronous = OFF")  # it is synced below, as a whole
                database.execute("BEGIN")
                database.execute(SCHEMA)
                database.executemany(
                    INSERT, (row_of(customer, known) for customer, known in entries if not has_expired(known, now))
                )
                database.execute("COMMIT")
            finally:
                database.close()
            sync(unfinished)
            os.rename(unfinished, base_of(self._folder, generation))
        except sqlite3.Error as error:
            raise OSError(str(error)) from error
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _begin(self, generation: int) -> None:
        """Make the journal of a new generation, which makes it the newest."""
        sync(self._folder)  # the base's name comes before its journal's
        os.close(open_private(journal_of(self._folder, generation), os.O_WRONLY | os.O_EXCL))

    def _open(self) -> None:
        """Open the newest journal for writing, without what was not written to its end; remove older generations.

        Raises OSError and IdMapError; then nothing is written before it has succeeded.
        """
        self._close_journal()
        self._map.refresh()
        generation = self._map.generation
        self._known = self._map.count()
        sync(self._folder)  # its name comes before what is confirmed in it, and before the old one is removed
        self._remove_older()
        self._journal = open_private(journal_of(self._folder, generation), os.O_WRONLY | os.O_APPEND)
        if os.fstat(self._journal).st_size > self._map.end:
            os.ftruncate(self._journal, self._map.end)
            os.fsync(self._journal)
        self._compact_at = 0
        self._generation = generation

    def _remove_older(self) -> None:
        """Remove what there is of older generations; what cannot be removed is tried again with the next change."""
        self._has_older = False
        for pattern in ("*.journal", "*.db"):  # a base without its journal is none
            for file in self._folder.glob(pattern):
                if file.stem.isdecimal() and int(file.stem) < self._map.generation:
                    try:
                        file.unlink(missing_ok=True)
                    except OSError:
                        self._has_older = True

    def _close_journal(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
        self._journal, self._generation = -1, _NONE

    def _append(self, lines: bytes) -> None:
        """Append and sync. Raises OSError; then nothing of it counts.

        What a reader has seen of it meanwhile it forgets with the next generation, which comes before the next change;
        also, after a failed fsync nobody can say what of a file is on the disk.
        """
        begin = os.fstat(self._journal).st_size
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(self._journal, left) :]
            os.fsync(self._journal)
        except OSError:
            self._is_spoilt = True
            with suppress(OSError):
                os.ftruncate(self._journal, begin)
            self._map.forget()
            raise


def _is_known(held: Known | None) -> bool:
    return held is not None and held.addresses is not None
