"""A table of rows as `survey` sees it, before any config says what its columns mean."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.customers.address_cell import read_cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of rows, as far as it was looked at."""

    source: str
    """As a config names it: a file's absolute path, or a server's address."""

    name: str = ""
    """In a database; "" of a text file."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first, each with a cell for each column."""

    whole: bool = True
    """Whether these are all rows."""

    wide: bool = True
    """Whether nearly all rows have as many cells as there are columns."""

    encoding: str = ""
    """What had to be assumed because the file is not UTF-8; "" otherwise."""

    skip_lines: int = 0
    lacks_last_end: bool = False

    def column(self, name: str) -> list[str]:
        """Return the cells of a column that are not empty, without white space around."""
        index = self.columns.index(name)
        return [text for row in self.rows if (text := row[index].strip())]


def holds_addresses(cells: list[str]) -> bool:
    """Return whether there are cells, none of which is empty, and most are email addresses and nothing else."""
    return sum("@" in text and is_address(text) for text in cells) * 2 > len(cells) > 0


def is_address(text: str) -> bool:
    """Return whether a cell has one or more addresses, and nothing else."""
    cell = read_cell(text)
    return cell.understood and bool(cell.addresses)
