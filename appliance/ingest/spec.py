"""What an import is asked to do, and what it says it did."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from appliance.errors import SidebardError
from appliance.ingest.sources.base import Source
from appliance.ingest.sources.remote import Fetched, RemoteSource

MAX_LISTED: Final = 20


@dataclass(frozen=True, kw_only=True)
class RelatedSpec:
    """One table of related rows: those whose `key` equals the customer's `on` are the customer's `name`."""

    name: str
    source: Source
    key: str
    on: str
    order_by: str = ""  # a column; "-column" for the largest first; "" for the order of the source
    limit: int = 10


@dataclass(frozen=True, kw_only=True)
class ImportSpec:
    """Where the customers come from, and when to refuse them. Shares are from 0 to 1."""

    source: Source
    addresses: tuple[str, ...] = ("email",)
    null_values: tuple[str, ...] = ()  # texts that mean nothing, in every source
    plus_addressing: bool = False
    gmail_dots: bool = False
    company_domain: str = ""  # the column that names the domain of a customer's company
    related: tuple[RelatedSpec, ...] = ()
    keys: tuple[str, ...] = ()  # columns to find customers by besides: "order_id", or "orders.id" of a related table
    id_column: str = ""  # one more: the customers' own, which holds the help desk's id
    max_shrink: float = 0.2
    max_bad_rows: float = 0.01
    ready_file: Path | None = None
    checksum_file: Path | None = None

    def digest(self) -> str:
        """Return a digest of everything that decides what a snapshot made of the same data would hold."""
        decides = [
            self.source.identity(),
            self.addresses,
            self.null_values,
            self.plus_addressing,
            self.gmail_dots,
            self.company_domain,
            [[r.name, r.source.identity(), r.key, r.on, r.order_by, r.limit] for r in self.related],
            list(self.key_columns),
        ]
        return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:16]

    @property
    def key_columns(self) -> dict[str, str]:
        """Every column that gets an index besides the addresses, with the setting that names it."""
        columns = dict.fromkeys(self.keys, "app.subject.column")
        if self.id_column:
            columns.setdefault(self.id_column, "helpscout.column")
        return columns

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source that is read: the customers' first."""
        return (self.source, *(related.source for related in self.related))

    @property
    def files(self) -> tuple[Path, ...]:
        """The operator's files that are read."""
        return tuple(file for source in self.sources for file in source.files())

    @property
    def is_fetched(self) -> bool:
        """Whether a source is on another machine."""
        return any(isinstance(source, RemoteSource) for source in self.sources)

    def login(self) -> str:
        """Return what stands for the passwords of all servers, without any of them. Raises nothing."""
        return " ".join(source.login() for source in self.sources if isinstance(source, RemoteSource))

    @property
    def is_marked(self) -> bool:
        """Whether the exporter says itself that the files are complete."""
        return self.ready_file is not None or self.checksum_file is not None

    def size(self) -> int:
        """Return about how many bytes all sources have."""
        return sum(source.size() for source in self.sources)


class BadRow(msgspec.Struct, frozen=True):
    """A row that was left out. The reason never contains a cell's value, because it is logged."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


class FetchReport(msgspec.Struct, frozen=True):
    """A fetch: its seconds, and what was fetched of each source, by its name."""

    seconds: float
    tables: dict[str, Fetched]
    whole: bool
    """Whether all rows were fetched; otherwise a server said that nothing has changed."""


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
    """Rows that were kept for an address, with a value beside it that is not one."""

    unclear: tuple[BadRow, ...]  # the first MAX_LISTED
    related: dict[str, int]
    seconds: float
    """Without those of the fetch."""

    companies: int | None = None
    """Different domains of companies; None if no column names any."""

    fetch: FetchReport | None = None
    """None if all sources are files."""

    @property
    def rows_per_second(self) -> int:
        """Customers read a second."""
        return round(self.rows / self.seconds) if self.seconds else 0


class ImportRefused(SidebardError):
    """The sources were not imported, and the last snapshot stays in use. The text is a sentence."""

    def __init__(
        self, sentence: str, bad: tuple[BadRow, ...] = (), *, transient: bool = False, login_refused: bool = False
    ) -> None:
        """`bad` lists rows to correct; `transient`: the same sources may be accepted at the next attempt.

        `login_refused`: a server accepts nothing before the password, or the config, has changed.
        """
        super().__init__(sentence)
        self.bad: Final = bad
        self.transient: Final = transient
        self.login_refused: Final = login_refused
