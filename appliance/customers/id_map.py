"""The map of ids on disk, as workers read it: an immutable base, and a journal of what has changed since.

    00000007.db        every id that was known when this generation was made: SQLite, never written again; each row
                       has a CRC-32 of the rest of it
    00000007.journal   one line for each id that has changed since: its CRC-32, and what is held of it now

The journal of a generation is made after its base, so the highest number among the journals is a whole generation. The
first has no base. A new generation holds all of the one before it, whose files are then removed: a reader sees by its
open journal that it has no name any more. A last line that does not end is not there yet, or never was; one that does
not match its CRC is not believed. A row that does not match its CRC, as a page that cannot be read, is damage, which a
look-up says: that nothing is known of an id must not be a guess. The writer then makes a new generation of the rest.
"""

from __future__ import annotations

import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from appliance.customers.ids import MAX_ID, Known
from appliance.errors import SidebardError

SCHEMA: Final = (
    "CREATE TABLE known(customer INTEGER PRIMARY KEY, addresses TEXT, as_of REAL NOT NULL, seen INTEGER NOT NULL,"
    " crc INTEGER NOT NULL)"
)
"""`addresses` are joined by line ends; NULL: a mark that the id was deleted."""

INSERT: Final = "INSERT OR REPLACE INTO known VALUES(?, ?, ?, ?, ?)"
"""A row, as `row_of` returns it."""

_FIND: Final = "SELECT customer, addresses, as_of, seen, crc FROM known WHERE customer = ?"
_COUNT: Final = "SELECT count(*) FROM known WHERE addresses IS NOT NULL"
_ALL: Final = "SELECT customer, addresses, as_of, seen, crc FROM known ORDER BY customer"
_FROM_THE_END: Final = f"{_ALL} DESC"
_UNSEEN: Final = "SELECT customer FROM known WHERE addresses IS NOT NULL AND seen < ?"
_NAME: Final = re.compile(r"([0-9]{8,18})\.journal")
_CRC: Final = 8
_PIECE: Final = 1024 * 1024


class Line(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One line of a journal: what is held of an id from now on."""

    customer: int
    known: Known


_decode: Final = msgspec.json.Decoder(Line).decode
_encode: Final = msgspec.json.Encoder().encode


class IdMapError(SidebardError):
    """A file of the map is damaged. The text is a sentence."""


def line_of(customer: int, known: Known) -> bytes:
    """Return a line of the journal."""
    text = _encode(Line(customer, known))
    return b"%08x %b\n" % (zlib.crc32(text), text)


def read_line(line: bytes) -> Line | None:
    """Return what a line, without its end, says; None if it is damaged."""
    text = line[_CRC + 1 :]
    try:
        if int(line[:_CRC], 16) != zlib.crc32(text):
            return None
        return _decode(text)
    except (ValueError, msgspec.MsgspecError):
        return None


def newest(folder: Path) -> int:
    """Return the number of the newest generation; 0 if there is none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    return max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=0)


def base_of(folder: Path, generation: int) -> Path:
    """Return the path of a base."""
    return folder / f"{generation:08}.db"


def journal_of(folder: Path, generation: int) -> Path:
    """Return the path of a journal."""
    return folder / f"{generation:08}.journal"


def changed_at(folder: Path) -> float | None:
    """Return when the map was written last, in seconds since 1970; None if it is empty. Raises OSError."""
    generation = newest(folder)
    files = [file for file in (base_of(folder, generation), journal_of(folder, generation)) if file.exists()]
    return max((status.st_mtime for status in map(Path.stat, files) if status.st_size), default=None)


def open_base(file: Path) -> sqlite3.Connection:
    """Open a base for reading, without locks, for nobody writes to it. Raises sqlite3.Error."""
    database = sqlite3.connect(  # one thread at a time uses it
        f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA mmap_size = 0")
        database.execute("PRAGMA cache_size = -512")
    except BaseException:
        database.close()
        raise
    return database


def row_of(customer: int, known: Known) -> tuple[int, str | None, float, int, int]:
    """Return a row of a base."""
    addresses = None if known.addresses is None else "\n".join(known.addresses)
    return customer, addresses, known.as_of, known.seen, _crc_of(customer, addresses, known.as_of, known.seen)


def read_row(customer: int, addresses: object, as_of: float, seen: int, crc: int) -> Known:
    """Return what a row says, whatever the types of its values are. Raises sqlite3.DatabaseError if it is damaged."""
    if crc != _crc_of(customer, addresses, as_of, seen):
        raise sqlite3.DatabaseError(f"its row of {customer} does not match its CRC")
    if addresses is None:
        return Known(None, as_of, seen)
    return Known(tuple(str(addresses).split("\n")) if addresses else (), as_of, seen)


def _crc_of(customer: int, addresses: object, as_of: float, seen: int) -> int:
    """Return the CRC of a row, as a signed number: SQLite stores that in 4 bytes."""
    text = f"{customer} {as_of!r} {seen!r}" if addresses is None else f"{customer} {as_of!r} {seen!r} {addresses}"
    return zlib.crc32(text.encode()) - 2**31


def readable(base: sqlite3.Connection) -> dict[int, Known]:
    """Return what can be read of a damaged base: from its begin and from its end, up to the first damaged page."""
    base.text_factory = lambda text: text.decode(errors="replace")  # such a row ends nothing: its CRC refuses it
    found: dict[int, Known] = {}
    for query in (_ALL, _FROM_THE_END):
        with suppress(sqlite3.Error):
            for row in base.execute(query):
                with suppress(sqlite3.DatabaseError):
                    found[row[0]] = read_row(*row)
            break
    return found


class IdMap:
    """The newest generation, open for reading. Not shared between threads or across a fork."""

    def __init__(self, folder: Path) -> None:
        """Read the map in `folder`, which may be made later. Nothing is opened before the first look-up."""
        self._folder = folder
        self._journal = -1
        self._base: sqlite3.Connection | None = None
        self._reset(0)

    def _reset(self, generation: int) -> None:
        self.close()
        self.generation = generation
        self.end = 0
        """How many bytes of the journal are whole lines, and read."""
        self.changed: dict[int, Known] = {}
        """What the journal says."""
        self.damaged_lines = 0

    def close(self) -> None:
        """Close the files."""
        if self._journal >= 0:
            os.close(self._journal)
        if self._base is not None:
            self._base.close()
        self._journal, self._base = -1, None

    def forget(self) -> None:
        """Forget what was read, and read all of it again: it was taken back."""
        self._open_newest()

    def find(self, customer: int) -> Known | None:
        """Return what is held of an id, with everything that was written before this call; None: nothing.

        Raises IdMapError if the base is damaged, and OSError.
        """
        self.refresh()
        held = self.changed.get(customer)
        if held is not None or self._base is None or customer > MAX_ID:
            return held
        try:
            row = self._base.execute(_FIND, (customer,)).fetchone()
            return read_row(*row) if row is not None else None
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def refresh(self) -> None:
        """Read what was written since the last time: one fstat where nothing was. Raises OSError and IdMapError."""
        if self._journal >= 0:
            status = os.fstat(self._journal)
            if status.st_nlink and status.st_size >= self.end:
                if status.st_size > self.end:
                    self._read()
                return
        self._open_newest()

    def all(self) -> Iterator[tuple[int, Known]]:
        """Yield everything that is held, those that have changed last. Raises IdMapError if the base is damaged."""
        self.refresh()
        if self._base is not None:
            try:
                for row in self._base.execute(_ALL):
                    if row[0] not in self.changed:
                        yield row[0], read_row(*row)
            except sqlite3.Error as error:
                raise self._damaged(error) from None
        yield from self.changed.items()

    def unseen_since(self, day: int) -> list[int]:
        """Return the ids of which something is known and that were seen before this day alone. Raises as `count`."""
        self.refresh()
        found = [one for one, known in self.changed.items() if known.addresses is not None and known.seen < day]
        if self._base is not None:
            try:
                rows = self._base.execute(_UNSEEN, (day,)).fetchall()
            except sqlite3.Error as error:
                raise self._damaged(error) from None
            found += [customer for (customer,) in rows if customer not in self.changed]
        return found

    def count(self) -> int:
        """Return of how many ids something is known. Raises IdMapError if the base is damaged, and OSError."""
        self.refresh()
        changed = sum(known.addresses is not None for known in self.changed.values())
        if self._base is None:
            return changed
        try:
            in_base = self._base.execute(_COUNT).fetchone()[0]
            for customer in self.changed:
                row = self._base.execute(_FIND, (customer,)).fetchone()
                in_base -= row is not None and row[1] is not None
        except sqlite3.Error as error:
            raise self._damaged(error) from None
        return int(in_base) + changed

    def _open_newest(self) -> None:
        """Open the newest generation; one that is removed meanwhile was not it."""
        try:
            while not self._has_opened(newest(self._folder)):
                pass
        except BaseException:
            self.close()  # half of a generation must not be looked into: the next look-up opens it anew
            raise

    def _has_opened(self, generation: int) -> bool:
        """Open a generation; return whether it is still there."""
        self._reset(generation)
        if not generation:
            return True
        try:
            self._journal = os.open(journal_of(self._folder, generation), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._open_base(generation)
        if not os.fstat(self._journal).st_nlink:
            return False
        self._read()
        return True

    def _open_base(self, generation: int) -> None:
        file = base_of(self._folder, generation)
        if generation == 1 and not file.exists():
            return
        try:
            self._base = open_base(file)
            self._base.execute(_FIND, (0,)).fetchone()
        except sqlite3.Error as error:
            if os.fstat(self._journal).st_nlink:
                raise self._damaged(error) from None

    def _read(self) -> None:
        """Read the journal's new lines."""
        rest = b""
        while piece := os.pread(self._journal, _PIECE, self.end + len(rest)):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self.end += len(line) + 1
                if (read := read_line(line)) is None:
                    self.damaged_lines += 1
                else:
                    self.changed[read.customer] = read.known

    def _damaged(self, error: Exception) -> IdMapError:
        return IdMapError(f"{base_of(self._folder, self.generation)} is damaged: {error}")
