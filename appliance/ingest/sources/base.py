"""What a source of rows is: the seam between what the operator names and what an import reads.

    setting --parse--> Source  --open--> OpenSource --batches--> rows, each with its line
                       |  fingerprint(), size(), unfinished(): asked without opening it

A `Source` is one table of rows: a frozen value without data, open files or secrets (a password is named, not held). It
is made when the settings are read. The importer, change detection, the limits of an import, the dry run, the checks and
the preview ask it what they need to know; none of them knows what kind it is. `fingerprint` and `size` must be cheap:
they are called often, also by a process that must not block.

An `OpenSource` exists only in the process that imports. It may take long, use memory, fail, or be killed.

A source of another machine, such as a table of a database, is fetched into a file first: remote.py.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from appliance.customers.column_name import shown_name
from appliance.customers.record import ColumnError, Columns
from appliance.errors import SidebardError
from appliance.system.write_monitor import WriteMonitor

BATCH: Final = 2000

Wanted = Mapping[str, str]
"""Columns that must exist, each with the config key that names it."""


class SourceError(SidebardError):
    """The source cannot be used as it is; the text is a sentence that says where and what to do.

    It never holds a cell's value: it ends in logs.
    """

    def __init__(self, sentence: str, *, transient: bool = False, login_refused: bool = False) -> None:
        """`transient`: the same source may be good the next time. `login_refused`: with another password."""
        super().__init__(sentence)
        self.transient = transient
        self.login_refused = login_refused


class SourceSettingError(SidebardError):
    """A setting names no source: the key at fault, why, and what to do. It never holds a secret."""

    def __init__(self, key: str, reason: str, hint: str) -> None:
        super().__init__(f"{key} {reason}; {hint}")
        self.key = key
        self.reason = reason
        self.hint = hint


class Batch(NamedTuple):
    """Consecutive rows. Batches, because running Python code for each of a million rows is what takes the time."""

    rows: list[list[str]]
    line_of: Callable[[int], int]
    """Returns the line (or table row number) of the row with this index. It is a search, meant for the few bad rows."""

    faults: Mapping[int, str] = MappingProxyType({})
    """What is wrong with rows that the source could not read, by their index."""


class OpenSource(abc.ABC):
    """A source that is being read."""

    columns: Columns
    unterminated: str = ""
    """Where the last line is if it has no line end and the source may be cut there, once all rows are read, or ""."""

    @abc.abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Return every row. Raises SourceError where the source is broken.

        A row whose number of cells is not the header's is returned as it is: the importer counts it as bad.
        """

    def share_read(self) -> float:
        """Return about how much has been read, from 0 to 1."""
        return 0.0

    def check_end(self) -> None:  # noqa: B027  (most have nothing to do)
        """Raise SourceError if the end alone, without the rows before it, shows that the source is not complete."""

    def close(self) -> None:  # noqa: B027
        """Release what is open, and remove what was copied."""


class Source(abc.ABC):
    """One table of rows. The subclasses are frozen dataclasses."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Return how messages name it, such as by its path; never with a secret."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return what it looks like right now; if that differs, the rows may differ. Raises nothing."""

    @abc.abstractmethod
    def size(self) -> int:
        """Return roughly how many bytes it has, 0 if unknown: limits depend on it. Raises nothing."""

    @abc.abstractmethod
    def open(self, wanted: Wanted, scratch: Path) -> OpenSource:
        """Open it and check that it has the `wanted` columns. A copy may be put at `scratch`. Raises SourceError."""

    @property
    def name(self) -> str:
        """A short name, for where there is little room."""
        return self.describe()

    def identity(self) -> tuple[str, ...]:
        """Return everything that decides which rows these are and how they are read, for the spec's digest."""
        return (self.describe(),)

    def files(self) -> tuple[Path, ...]:
        """Return the operator's files that hold the rows, if any."""
        return ()

    def unfinished(self, imported: str, writes: WriteMonitor) -> bool:
        """Return whether it is probably still being written. Raises nothing.

        `imported` is its fingerprint at the last import, "" if there was none; `writes` watches its files.
        """
        return False

    @property
    def is_streamed(self) -> bool:
        """Whether its first rows can be read without the rest, as a dry run of a large source does."""
        return True

    @property
    def is_of_now(self) -> bool:
        """Whether its rows are those of right now even if they are the same as before, as only a server can say.

        A file that is the same as before may never be written again.
        """
        return False

    def __str__(self) -> str:
        return self.describe()


@dataclass(frozen=True)
class SourceKind:
    """What is declared of one kind of source; `sources.KINDS` lists all kinds."""

    title: str
    """As in "name a CSV or SQLite file"."""

    parse: Callable[..., Source]
    """Takes the location, the config's section (for messages) and the values of `keys`. Raises SourceSettingError."""

    suffixes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Keys of [customers] that say more about it. Those that [related.NAME] lacks are taken from [customers]."""

    about: str = ""
    """What it is, for its row in docs/customers.md."""

    @property
    def row(self) -> str:
        """Its row in docs/customers.md: what it is, what `source` ends or begins with, and its keys."""
        marks = [*self.suffixes, *(f"{scheme}:" for scheme in self.schemes)]
        return f"| {self.about} | {_listed(marks)} | {_listed(self.keys)} |"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def require(columns: Columns, wanted: Wanted) -> None:
    """Raise ColumnError unless all of the `wanted` columns exist."""
    for name, key in wanted.items():
        if columns.find_index(name) is None:
            has = ", ".join(map(shown_name, columns.names))
            raise ColumnError(f"there is no column {shown_name(name)}, only {has}; correct {key}, or the header")
