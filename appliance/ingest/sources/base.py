"""What a source of rows is: the seam between what the operator names and what an import reads.

    setting --parse--> Source  --open--> OpenSource --batches--> rows, each with its line
                       |  fingerprint(), size(), unfinished(): asked without opening it

A `Source` is one table of rows: a frozen value that holds no data, no open file and no secret, but at most where one is
to be read. It is made when the settings are read, and asked by everybody who wants to know what is to be imported: the
importer, change detection, the limits of an import, the dry run, the checks and the preview. None of them knows what
kind it is. `fingerprint` and `size` are asked often, also by a process that must not wait, so they must be cheap.

An `OpenSource` lives in the process that imports. It may take long, use memory, fail, or be killed.

A source whose rows are far away (a database) is fetched before: a child process copies every table of one database, in
one transaction, into files of the state folder, and the import reads those as local sources in place of the far one
(`dataclasses.replace` of the spec). What tells whether it has changed is then the fingerprint of what was fetched.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from appliance.customers.column_name import shown_name
from appliance.customers.record import ColumnFault, Columns
from appliance.errors import SidebardError
from appliance.system.write_monitor import WriteMonitor

BATCH: Final = 2000

Wanted = Mapping[str, str]
"""Columns that must be there, each with the config key that names it."""


class SourceFault(SidebardError):
    """The source cannot be used as it is; the text is a sentence that says where and what to do.

    It never holds a cell's value: it ends in logs.
    """

    def __init__(self, sentence: str, *, transient: bool = False) -> None:
        """`transient` says that the same source may be good the next time."""
        super().__init__(sentence)
        self.transient = transient


class BadSource(ValueError):
    """A setting names no source: the key at fault, why, and what to do. It never holds a secret."""

    def __init__(self, key: str, reason: str, hint: str) -> None:
        super().__init__(f"{key} {reason}; {hint}")
        self.key = key
        self.reason = reason
        self.hint = hint


class Batch(NamedTuple):
    """Some rows in a row. Batches, because a step of Python for each of a million rows is what takes the time."""

    rows: list[list[str]]
    line_of: Callable[[int], int]
    """Returns the line, or row of a table, on which the row of this index is: a search, for the few that are bad."""

    faults: Mapping[int, str] = MappingProxyType({})
    """What is wrong with rows that the source could not read, by their index."""


class OpenSource(abc.ABC):
    """A source that is being read."""

    columns: Columns
    unterminated: str = ""
    """Where the last line is if it has no line end and the source may be cut there, once all rows are read, or ""."""

    @abc.abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Return every row. Raises SourceFault where the source is broken.

        A row whose number of cells is not the header's is returned as it is: the importer counts it as bad.
        """

    def share_read(self) -> float:
        """Return about how much has been read, from 0 to 1."""
        return 0.0

    def check_end(self) -> None:  # noqa: B027  (most have nothing to do)
        """Raise SourceFault if the end alone, without the rows before it, shows that the source is not complete."""

    def close(self) -> None:  # noqa: B027
        """Release what is open, and remove what was copied."""


class Source(abc.ABC):
    """One table of rows. The subclasses are frozen dataclasses."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Return how messages name it, such as by its path; never with a secret."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return what it looks like right now: another one means other rows. Raises nothing."""

    @abc.abstractmethod
    def size(self) -> int:
        """Return about how many bytes it has, 0 if that cannot be told: limits hang on it. Raises nothing."""

    @abc.abstractmethod
    def open(self, wanted: Wanted, scratch: Path) -> OpenSource:
        """Open it; it must have the `wanted` columns. A copy may be put at `scratch`. Raises SourceFault."""

    @property
    def name(self) -> str:
        """How to name it where there is little room."""
        return self.describe()

    def identity(self) -> tuple[str, ...]:
        """Return all that decides which rows these are, and how they are read: a snapshot is of one identity."""
        return (self.describe(),)

    def files(self) -> tuple[Path, ...]:
        """Return the operator's files that the rows are in; none for what is in no file."""
        return ()

    def unfinished(self, imported: str, writes: WriteMonitor) -> bool:
        """Return whether it is likely to be half written still. Raises nothing.

        `imported` is the fingerprint that it had when it was last imported, "" if it never was; `writes` follows its
        files.
        """
        return False

    @property
    def is_streamed(self) -> bool:
        """Whether its first rows can be read without the rest, as a dry run of a large source does."""
        return True

    def __str__(self) -> str:
        return self.describe()


@dataclass(frozen=True)
class SourceKind:
    """What the file of one kind of source says of it; `sources.KINDS` lists them."""

    title: str
    """As in "name a CSV or SQLite file"."""

    parse: Callable[..., Source]
    """Takes the location, the section of the config, for messages, and the values of `keys`. Raises BadSource."""

    suffixes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Keys of [customers] that say more about it. What [related.NAME] does not have is as in [customers]."""

    about: str = ""
    """What docs/customers.md says of it."""


def require(columns: Columns, wanted: Wanted) -> None:
    """Raise ColumnFault unless each of the `wanted` columns is there."""
    for name, key in wanted.items():
        if columns.find_index(name) is None:
            has = ", ".join(map(shown_name, columns.names))
            raise ColumnFault(f"there is no column {shown_name(name)}, only {has}; correct {key}, or the header")
