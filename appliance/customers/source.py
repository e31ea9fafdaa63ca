"""What every source of customers gives: a header, then rows with the line that each stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from appliance.customers.record import ColumnFault, Columns


class SourceFault(Exception):
    """The source cannot be used as it is; the text is a sentence that says where and what to do.

    It never holds a cell's value: it ends in logs.
    """

    def __init__(self, sentence: str, *, transient: bool = False) -> None:
        """`transient` says that the same file may be good the next time."""
        super().__init__(sentence)
        self.transient = transient


class Source(Protocol):
    """An open file of customers or of related rows."""

    columns: Columns

    def rows(self) -> Iterator[tuple[int, Sequence[str] | None]]:
        """Give each row's place (line or row number) and its cells; None for a last row that may be cut.

        A row whose number of cells is not the header's is given as it is: the importer counts it as bad.
        Raises SourceFault where the file is broken.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def require(columns: Columns, wanted: Sequence[str], setting: str) -> None:
    """Raise ColumnFault unless each of the `wanted` columns, named by the key `setting`, is there."""
    for name in wanted:
        if columns.position(name) is None:
            has = ", ".join(f'"{column}"' for column in columns.names)
            raise ColumnFault(f'there is no column "{name}", only {has}; correct {setting}, or the header')
