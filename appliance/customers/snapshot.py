"""The snapshot: the private SQLite file that all look-ups read.

One file per generation, `00000042.db`, written under another name and renamed when complete, so the highest number is
the newest, and every file with such a name is complete. It is opened with `immutable=1`, without WAL and without mmap:
a file that nobody writes needs no locks (2.2 times the look-ups of mode=ro), and a page that goes bad is an error, not
a SIGBUS.
"""

from __future__ import annotations

import os
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from appliance.customers.address import domain_of, fold
from appliance.customers.address_cell import read_cell
from appliance.customers.record import Columns, Record, Rows, record_maker
from appliance.errors import SidebardError

FORMAT: Final = 3
"""Raised with every change of the file's contents. A snapshot of another format is never migrated, but made again."""

SCHEMA: Final = """
CREATE TABLE metadata(json TEXT NOT NULL);
CREATE TABLE customer(number INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE address(address TEXT NOT NULL, customer INTEGER NOT NULL, PRIMARY KEY(address, customer)) WITHOUT ROWID;
CREATE TABLE related(relation INTEGER NOT NULL, key TEXT NOT NULL, place INTEGER NOT NULL, total INTEGER NOT NULL,
                     record TEXT NOT NULL, PRIMARY KEY(relation, key, place)) WITHOUT ROWID;
CREATE TABLE customer_key(number INTEGER NOT NULL, key TEXT NOT NULL, customer INTEGER NOT NULL,
                          PRIMARY KEY(number, key, customer)) WITHOUT ROWID;
CREATE TABLE company(domain TEXT PRIMARY KEY, members INTEGER NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
"""
MAX_FOUND: Final = 20
"""Customers found for one question: a placeholder address on 200,000 rows would make a card of 159 MB."""

_AT_A_TIME: Final = 4
"""Addresses that one statement looks up: two statements for two of them take 0.6 us more."""

_MAX_ROWS: Final = _AT_A_TIME * (MAX_FOUND + 1)
"""Rows of such a statement that are read: an address lists a customer once, so they hold more than MAX_FOUND."""

_BY_ADDRESS: Final = """SELECT * FROM (SELECT customer.number, CAST(customer.record AS BLOB) FROM address
JOIN customer ON customer.number = address.customer WHERE address.address = ? ORDER BY address.customer)"""
_FIND: Final = tuple(" UNION ALL ".join([_BY_ADDRESS] * count) for count in range(_AT_A_TIME + 1))
"""The statement for each number of addresses."""

_FIND_BY_KEY: Final = """SELECT customer.number, CAST(customer.record AS BLOB) FROM customer_key
JOIN customer ON customer.number = customer_key.customer
WHERE customer_key.number = ? AND customer_key.key = ? ORDER BY customer_key.customer"""
MAX_JOIN_KEYS: Final = 50
"""Addresses of one customer by which related rows are found: 9,000 in a cell would make a card of 16 MB."""

_FIND_COMPANY: Final = "SELECT members, CAST(record AS BLOB) FROM company WHERE domain = ?"
_LIKE: Final = "SELECT CAST(record AS BLOB) FROM customer WHERE number <= ? AND record LIKE ? ORDER BY number LIMIT ?"
_SEARCHED: Final = 1_000_000  # 0.5 s
_RELATED: Final = "SELECT CAST(record AS BLOB), total FROM related WHERE relation = ? AND key = ? ORDER BY place"
_JOINED: Final = """SELECT count(*), CAST(group_concat(record, ',') AS BLOB)
FROM (SELECT record FROM customer WHERE number BETWEEN ? AND ? ORDER BY number)"""
_SAMPLE: Final = "SELECT CAST(record AS BLOB) FROM customer WHERE number % ? = 1 % ? ORDER BY number LIMIT ?"
_AT_ONCE: Final = 1000
_NAME: Final = re.compile(r"([0-9]{8}|[1-9][0-9]{8,17})\.db")

Values = tuple[str, ...]
_DECODER: Final = msgspec.json.Decoder(Values)
_DAMAGE: Final = (sqlite3.Error, msgspec.MsgspecError, ValueError, IndexError)
"""Also what a record raises whose bytes are no text, or which has too few values."""


_LookUp = tuple[str, tuple[int | str, ...]]
"""A statement that finds customers, and its parameters."""


class Relation(msgspec.Struct, frozen=True):
    """A related table: its rows have in `key` what the customer has in the column `on`."""

    name: str
    columns: Values
    on: str
    by_address: bool  # `on` holds addresses, so both sides are compared in normal form
    key: str = ""  # the column of its own that is compared
    fold_plus: bool = False  # and without their tags
    gmail_dots: bool = False  # and without Gmail's dots


class SourceVersion(msgspec.Struct, frozen=True):
    """What a source looked like, and when it was first read in this state."""

    fingerprint: str
    as_of: float  # seconds since 1970


class SnapshotMetadata(msgspec.Struct, frozen=True):
    """What a snapshot records about itself."""

    format: int
    spec: str  # digest of the settings it was made by: another one means other sources, or other columns
    fingerprint: str  # of all sources: what they were when they were read
    versions: dict[str, SourceVersion]  # of each source
    columns: Values
    relations: tuple[Relation, ...]
    keys: Values  # columns that customers can be found by, besides addresses
    rows: int
    related_rows: dict[str, int]
    addresses: int
    companies: int  # domains of companies
    checksum: int  # by add_to_checksum, over all records in order

    @property
    def as_of(self) -> float:
        """When the data was read, seconds since 1970: the oldest of its files decides."""
        return min(version.as_of for version in self.versions.values())


class Company(NamedTuple):
    """The customers of one company, in one record: what they all have, with empty cells for what differs."""

    domain: str
    members: int
    record: Record
    """Its related rows are there only if all of them are joined by one value."""


class SnapshotError(SidebardError):
    """The file is not a snapshot of this version, or it is damaged. The text is a sentence."""


class Snapshot:
    """One generation, open for reading. Not shared between threads or across a fork."""

    def __init__(self, file: Path, generation: int) -> None:
        """Open `file`. Raises SnapshotError if it is missing, damaged, or of another format."""
        self.generation: Final = generation
        self._file = file
        try:
            # Taken before opening: if the file is replaced in between, it will be seen as another one.
            self._identity = _identity(file)
            _check_length(file)
            self._database = sqlite3.connect(  # one thread at a time uses it, but another may close it
                f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                self._database.execute("PRAGMA mmap_size = 0")
                self._database.execute("PRAGMA cache_size = -8192")
                self.metadata: Final = self._read_metadata(file)
            except BaseException:
                self._database.close()
                raise
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            raise SnapshotError(f"{file} is not a whole snapshot: {error}") from error
        self._columns = Columns(self.metadata.columns)
        self._make_record = record_maker(self._columns)
        self._relations = tuple(
            (relation, record_maker(Columns(relation.columns)), self._columns.require_index(relation.on))
            for relation in self.metadata.relations
        )
        self._keys = {name: number for number, name in enumerate(self.metadata.keys)}
        self._execute = self._database.cursor().execute
        self.as_of = self.metadata.as_of
        self.read_confirmation()

    def read_confirmation(self) -> None:
        """Set `as_of`, when the data was read, in seconds since 1970: later than its import if it was read again since.

        A server that is asked again and returns the same rows proves that they are of now. No snapshot is made then, so
        the time is in a file beside it.
        """
        with suppress(OSError, ValueError):
            self.as_of = max(self.metadata.as_of, float(confirmation_of(self._file).read_text("ascii")))

    def _read_metadata(self, file: Path) -> SnapshotMetadata:
        row = self._database.execute("SELECT json FROM metadata").fetchone()
        if row is None:
            raise SnapshotError(f"{file} is not a whole snapshot: its metadata is missing")
        version = msgspec.json.decode(row[0], type=dict[str, msgspec.Raw]).get("format")
        if version is None or bytes(version) != str(FORMAT).encode():
            raise SnapshotError(f"{file} has a format of another version of sidebard")
        return msgspec.json.decode(row[0], type=SnapshotMetadata)

    def in_place(self) -> bool:
        """Return whether the path still names this file; otherwise it was removed, and perhaps made again."""
        try:
            return _identity(self._file) == self._identity
        except OSError:
            return False

    def find(self, addresses: tuple[str, ...]) -> tuple[Record, ...]:
        """Return the customers who have one of `addresses` (normal form), each once, in the order of the addresses.

        At most MAX_FOUND + 1; the last one only shows that there are more.
        Raises SnapshotError if the file is damaged.
        """
        return self._found(_look_ups(addresses))

    def find_by_keys(self, keys: Iterable[tuple[str, str]]) -> tuple[Record, ...]:
        """Return the customers of these keys, each a name of the spec's `keys` and a value in its normal form.

        Otherwise as `find`. Raises KeyError for any other name.
        """
        return self.find_by_keys_and_addresses(keys, ())

    def find_by_keys_and_addresses(
        self, keys: Iterable[tuple[str, str]], addresses: tuple[str, ...]
    ) -> tuple[Record, ...]:
        """Return the customers of these keys, then those of these addresses; each once. Otherwise as the other two."""
        return self._found([*((_FIND_BY_KEY, (self._keys[name], key)) for name, key in keys), *_look_ups(addresses)])

    def find_company(self, addresses: Iterable[str]) -> Company | None:
        """Return the company of the first of `addresses` (normal form) whose domain customers name as their company's.

        Raises SnapshotError if the file is damaged.
        """
        if not self.metadata.companies:
            return None
        try:
            for domain in dict.fromkeys(map(domain_of, addresses)):
                if (row := self._execute(_FIND_COMPANY, (domain,)).fetchone()) is not None:
                    return Company(domain, row[0], self._record(_DECODER.decode(row[1])))
        except _DAMAGE as error:
            raise self._damaged(error) from None
        return None

    def first_company(self) -> str | None:
        """Return the domain of some company, for people who try out. Raises SnapshotError if the file is damaged."""
        try:
            row = self._execute("SELECT domain FROM company LIMIT 1").fetchone()
        except _DAMAGE as error:
            raise self._damaged(error) from None
        return row[0] if row is not None else None

    def _found(self, look_ups: Iterable[_LookUp]) -> tuple[Record, ...]:
        found: dict[int, Record] = {}
        try:
            for statement, parameters in look_ups:
                for number, record in self._execute(statement, parameters).fetchmany(_MAX_ROWS):
                    if number not in found:
                        found[number] = self._record(_DECODER.decode(record))
                        if len(found) > MAX_FOUND:
                            return tuple(found.values())
        except _DAMAGE as error:
            raise self._damaged(error) from None
        return tuple(found.values())

    def search(self, pattern: str, limit: int) -> Iterator[Record]:
        """Return at most `limit` customers, without related rows, whose record as JSON is LIKE `pattern`, in order.

        For a search by a person: only the first million customers are searched.
        Raises SnapshotError if the file is damaged.
        """
        try:
            for (record,) in self._database.execute(_LIKE, (_SEARCHED, pattern, limit)):
                yield self._make_record(_DECODER.decode(record))
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def sample(self, count: int) -> tuple[Record, ...]:
        """Return up to `count` customers, spread over the whole file. Raises SnapshotError if it is damaged."""
        step = max(1, self.metadata.rows // count)
        try:
            rows = self._execute(_SAMPLE, (step, step, count)).fetchall()
            return tuple(self._record(_DECODER.decode(record)) for (record,) in rows)
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> SnapshotError:
        return SnapshotError(f"generation {self.generation} is damaged: {error}")

    def _record(self, values: Values) -> Record:
        if not self._relations:
            return self._make_record(values)
        related: dict[str, Rows] = {}
        for number, (relation, make_row, on) in enumerate(self._relations):
            records: list[Record] = []
            total = 0
            for key in related_keys(values[on], relation, MAX_JOIN_KEYS):
                rows = self._execute(_RELATED, (number, key)).fetchall()
                records += [make_row(_DECODER.decode(row)) for row, _ in rows]
                total += rows[0][1] if rows else 0
            related[relation.name] = Rows(records, total)
        return self._make_record(values, related)

    def values(self, number: int) -> Values:
        """Return the row of one customer; they are numbered from 1 in the order of the file. Raises SnapshotError."""
        try:
            row = self._execute("SELECT CAST(record AS BLOB) FROM customer WHERE number = ?", (number,)).fetchone()
            return _DECODER.decode(row[0] if row else b"")
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def check(self) -> None:
        """Read everything back. Raises SnapshotError unless it is intact and matches its `metadata`."""
        complaint = self._execute("PRAGMA integrity_check(1)").fetchone()[0]
        rows = checksum = 0
        # Joined by SQLite: a step of Python for each record takes four times as long.
        for first in range(1, self.metadata.rows + 1, _AT_ONCE):
            some, records = self._execute(_JOINED, (first, first + _AT_ONCE - 1)).fetchone()
            rows += some
            checksum = add_to_checksum(records or b"", checksum)
        addresses = self._execute("SELECT count(*) FROM address").fetchone()[0]
        companies = self._execute("SELECT count(*) FROM company").fetchone()[0]
        metadata = self.metadata
        written = (metadata.rows, metadata.addresses, metadata.companies, metadata.checksum)
        if complaint != "ok" or (rows, addresses, companies, checksum) != written:
            raise SnapshotError(f"what was written could not be read back ({complaint}); check the disk")

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _look_ups(addresses: tuple[str, ...]) -> list[_LookUp]:
    """Return the statements that look up some addresses."""
    if 0 < len(addresses) <= _AT_A_TIME:  # nearly always
        return [(_FIND[len(addresses)], addresses)]
    parts = [addresses[at : at + _AT_A_TIME] for at in range(0, len(addresses), _AT_A_TIME)]
    return [(_FIND[len(part)], part) for part in parts]


def _identity(file: Path) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _check_length(file: Path) -> None:
    """Raise SnapshotError unless the file is as long as its own header says (SQLite's file format, 1.3)."""
    with open(file, "rb") as binary:
        header = binary.read(100)
        length = binary.seek(0, os.SEEK_END)
    size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    if length != pages * (65536 if size == 1 else size) or not length:
        raise SnapshotError(f"{file} is not a whole snapshot: its length is wrong")


_BINARY: Final = re.compile(r"\([0-9,]+ bytes\)")


def related_keys(text: str, relation: Relation, limit: int | None = None) -> list[str]:
    """Return the forms in which a customer and its related rows are matched: one, or one for each address in a cell.

    Of addresses at most the first `limit` distinct ones; no further text of the cell is read. Of a binary value only
    its size is known, which many rows have in common, so it matches nothing.
    """
    if not relation.by_address:
        key = text.strip()
        return [key] if key and not _BINARY.fullmatch(key) else []
    addresses = read_cell(text, limit).addresses
    folded = (fold(one, plus=relation.fold_plus, gmail_dots=relation.gmail_dots) for one in addresses)
    return list(dict.fromkeys(folded))[:limit]


def add_to_checksum(records: bytes, checksum: int) -> int:
    """Return the CRC-32 extended by some records: their JSON joined by commas, and a comma before them."""
    return zlib.crc32(records, zlib.crc32(b",", checksum))


def generation_of(file: Path) -> int | None:
    """Return the number in a snapshot's file name, or None for any other name."""
    match = _NAME.fullmatch(file.name)
    return int(match[1]) if match else None


def file_of(folder: Path, generation: int) -> Path:
    """Return the path of a generation."""
    return folder / f"{generation:08}.db"


def confirmation_of(file: Path) -> Path:
    """Return the file that says when the same data as in the snapshot `file` was read again, if it was."""
    return file.with_suffix(".as-of")


def generations(folder: Path) -> list[int]:
    """Return the numbers of the snapshots in `folder`, newest first; none if the folder cannot be read."""
    try:
        numbers = [generation_of(file) for file in folder.iterdir()]
    except OSError:
        return []
    return sorted((number for number in numbers if number is not None), reverse=True)
