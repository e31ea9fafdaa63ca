"""What an import is asked to do, and what it says it did."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from appliance.errors import SidebardError

MAX_LISTED: Final = 20


@dataclass(frozen=True, kw_only=True)
class RelatedSpec:
    """One file of related rows: those whose `key` equals the customer's `on` are the customer's `name`."""

    name: str
    source: Path
    table: str
    key: str
    on: str
    order_by: str = ""  # a column; "-column" for the largest first; "" for the order of the file
    limit: int = 10


@dataclass(frozen=True, kw_only=True)
class ImportSpec:
    """Where the customers come from, and when to refuse what is there. Shares are from 0 to 1."""

    source: Path
    table: str = "customers"
    addresses: tuple[str, ...] = ("email",)
    encoding: str = ""
    plus_addressing: bool = False
    related: tuple[RelatedSpec, ...] = ()
    keys: tuple[str, ...] = ()  # columns to find customers by besides: "order_id", or "orders.id" of a related file
    max_shrink: float = 0.2
    max_bad_rows: float = 0.01
    ready_file: Path | None = None
    checksum_file: Path | None = None

    def digest(self) -> str:
        """Give a name for all that decides what the same files become: a snapshot of another digest is of no use."""
        decides = [
            str(self.source),
            self.table,
            self.addresses,
            self.encoding,
            self.plus_addressing,
            [[r.name, str(r.source), r.table, r.key, r.on, r.order_by, r.limit] for r in self.related],
            self.keys,
        ]
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:16]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return (self.source, *(related.source for related in self.related))


class BadRow(msgspec.Struct, frozen=True):
    """A row that was left out. The reason never holds a cell's value: it ends in logs."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


class Report(msgspec.Struct, frozen=True):
    """What one import found and made."""

    generation: int
    rows: int
    addresses: int
    without_address: int
    shared_addresses: int
    bad_rows: int
    bad: tuple[BadRow, ...]  # the first MAX_LISTED
    unclear_rows: int
    """Rows that are kept by an address, and hold something beside it that is none."""

    unclear: tuple[BadRow, ...]  # the first MAX_LISTED
    related: dict[str, int]
    seconds: float

    @property
    def rows_per_second(self) -> int:
        """Rows of customers read a second."""
        return round(self.rows / self.seconds) if self.seconds else 0


class ImportRefused(SidebardError):
    """The source was not imported, and the last snapshot stays. The text is a sentence."""

    def __init__(self, sentence: str, bad: tuple[BadRow, ...] = (), *, transient: bool = False) -> None:
        """`bad` lists rows to mend; `transient` says that the same files may be good the next time."""
        super().__init__(sentence)
        self.bad: Final = bad
        self.transient: Final = transient
