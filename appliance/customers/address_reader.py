"""Finds the addresses in rows: many at once where they are plain, one by one where they are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from appliance.customers.address import MAX_LENGTH, PLAIN, fold, is_odd
from appliance.customers.address_cell import read_cell
from appliance.customers.record import Columns

# Cells that hold one address whose normal form is its lower case, between line ends: one call for a whole batch.
_ALL_PLAIN: Final = re.compile(rf"{PLAIN}(?:\n{PLAIN})*")


class Found(NamedTuple):
    """The addresses of some rows, in normal form."""

    main: list[str | None]
    """The first of each row, or None."""

    more: list[tuple[int, str]]
    """Every other one, with the index of its row."""

    bad: list[int]
    """The indices of rows whose address cells hold something, and no address."""

    unclear: list[int]
    """The indices of rows that have an address, and beside it something that is none."""


class AddressReader:
    """Reads the address columns of a file."""

    def __init__(self, names: Sequence[str], columns: Columns, *, fold_plus: bool, gmail_dots: bool = False) -> None:
        """`names` are columns that are there; `fold_plus` and `gmail_dots` are as for `address.fold`."""
        self._positions: Final = [columns.require_index(name) for name in names]
        self._plus: Final = fold_plus
        self._gmail_dots: Final = gmail_dots

    def read(self, rows: Sequence[Sequence[str]]) -> Found:
        """Return the addresses of the rows."""
        if len(self._positions) == 1 and not (self._plus or self._gmail_dots):
            joined = "\n".join(map(itemgetter(self._positions[0]), rows))
            if _ALL_PLAIN.fullmatch(joined) and not is_odd(joined):
                lines = joined.lower().split("\n")
                if len(lines) == len(rows) and max(map(len, lines)) <= MAX_LENGTH:  # no cell of two lines
                    return Found(lines, [], [], [])  # type: ignore[arg-type]  # a list of str is one of str | None
        found = Found([], [], [], [])
        for index, row in enumerate(rows):
            addresses, understood = self._read(row)
            if not understood:
                (found.unclear if addresses else found.bad).append(index)
            found.main.append(addresses[0] if addresses else None)
            found.more.extend((index, address) for address in addresses[1:])
        return found

    def _read(self, row: Sequence[str]) -> tuple[list[str], bool]:
        """Return a row's distinct addresses, and whether its cells hold nothing else."""
        addresses: dict[str, None] = {}  # a list would make a cell of 11,000 addresses take 1.1 s
        understood = True
        for position in self._positions:
            cell = read_cell(row[position])
            understood = understood and cell.understood
            for address in cell.addresses:
                addresses[fold(address, plus=self._plus, gmail_dots=self._gmail_dots)] = None
        return list(addresses), understood
