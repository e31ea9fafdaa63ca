"""Finds the addresses in rows: many at once where they are plain, one by one where they are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from appliance.customers.address import BETWEEN, fold_plus, normalise
from appliance.customers.record import Columns

# Cells that hold one address whose normal form is its lower case, between line ends: one call for a whole batch.
_PLAIN: Final = re.compile(r"[!#-+\-./0-9:<=>?A-Z\[-~]{1,64}@[0-9A-Za-z.-]{0,254}[0-9A-Za-z-]")
_ALL_PLAIN: Final = re.compile(rf"{_PLAIN.pattern}(?:\n{_PLAIN.pattern})*")


class Found(NamedTuple):
    """The addresses of some rows, in normal form."""

    main: list[str | None]
    """The first of each row, or None."""

    more: list[tuple[int, str]]
    """Every other one, with the index of its row."""

    bad: list[int]
    """The indices of rows whose address cells hold anything that is no address."""


class AddressReader:
    """Reads the address columns of a file."""

    def __init__(self, names: Sequence[str], columns: Columns, *, fold_plus: bool) -> None:
        """`names` are columns that are there; with `fold_plus`, "+tag" is left out."""
        self._positions: Final = [columns.place(name) for name in names]
        self._fold: Final = fold_plus

    def read(self, rows: Sequence[Sequence[str]]) -> Found:
        """Give what addresses the rows have."""
        if len(self._positions) == 1 and not self._fold:
            joined = "\n".join(map(itemgetter(self._positions[0]), rows))
            if _ALL_PLAIN.fullmatch(joined) and joined.count("\n") == len(rows) - 1:  # no cell of two lines
                return Found([*joined.lower().split("\n")], [], [])
        found = Found([], [], [])
        for index, row in enumerate(rows):
            addresses = self._read(row)
            if addresses is None:
                found.bad.append(index)
            found.main.append(addresses[0] if addresses else None)
            found.more.extend((index, address) for address in (addresses or ())[1:])
        return found

    def _read(self, row: Sequence[str]) -> list[str] | None:
        """Return a row's distinct addresses; [] if its cells are empty, None if they hold anything that is none."""
        addresses: dict[str, None] = {}  # a list would make a cell of 11,000 addresses take 1.1 s
        for position in self._positions:
            cell = row[position].strip()
            for part in (cell,) if _PLAIN.fullmatch(cell) else filter(None, BETWEEN.split(cell)):
                address = normalise(part)
                if address is None:
                    return None  # half of "ada smith@example.com" is another's address
                addresses[fold_plus(address) if self._fold else address] = None
        return list(addresses)
