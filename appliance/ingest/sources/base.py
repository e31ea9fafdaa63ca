"""What every source of customers gives: a header, then rows with the line that each stands on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from appliance.customers.column_name import shown_name
from appliance.customers.record import ColumnFault, Columns
from appliance.errors import SidebardError
from appliance.system.account import todo_of

BATCH: Final = 2000


class SourceFault(SidebardError):
    """The source cannot be used as it is; the text is a sentence that says where and what to do.

    It never holds a cell's value: it ends in logs.
    """

    def __init__(self, sentence: str, *, transient: bool = False) -> None:
        """`transient` says that the same file may be good the next time."""
        super().__init__(sentence)
        self.transient = transient


class Batch(NamedTuple):
    """Some rows in a row. Batches, because a step of Python for each of a million rows is what takes the time."""

    rows: list[list[str]]
    line_of: Callable[[int], int]
    """Gives the line, or row of a table, on which the row of this index stands: a search, for the few that are bad."""

    faults: Mapping[int, str] = MappingProxyType({})
    """What is wrong with rows that the source could not read, by their index."""


class Source(Protocol):
    """An open file of customers or of related rows."""

    columns: Columns

    def batches(self) -> Iterator[Batch]:
        """Give every row. Raises SourceFault where the file is broken.

        A row whose number of cells is not the header's is given as it is: the importer counts it as bad.
        """
        ...

    def share_read(self) -> float:
        """Give about how much of the file has been read, from 0 to 1."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def require(columns: Columns, wanted: Sequence[str], setting: str) -> None:
    """Raise ColumnFault unless each of the `wanted` columns, named by the key `setting`, is there."""
    for name in wanted:
        if columns.find_index(name) is None:
            has = ", ".join(map(shown_name, columns.names))
            raise ColumnFault(f"there is no column {shown_name(name)}, only {has}; correct {setting}, or the header")


def open_regular(file: Path) -> BufferedReader:
    """Open a file that is neither a folder, a pipe nor a device. Raises SourceFault."""
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceFault(f"{file} does not exist; put the file there, or correct its name in the config") from None
    except OSError as error:
        raise SourceFault(f"{file} cannot be opened: {error.strerror}; {todo_of(error)}", transient=True) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceFault(f"{file} is not a regular file; name a file of customers")
    return os.fdopen(descriptor, "rb")
