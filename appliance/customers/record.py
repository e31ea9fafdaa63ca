"""A customer as seen by a card: the values of a row by the names of its columns."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from appliance.customers.column_name import clean_name, name_key, shown_name

_NOT_IN_A_NAME: Final = re.compile(r"\W+")


class ColumnError(ValueError):
    """The header cannot be used. The text is a sentence for the operator."""


def attribute_of(name: str) -> str:
    """Return the attribute under which a template finds the column `name`: lower case, "_" for anything else."""
    # NFKC, for it is what Python makes of the names in a template (PEP 3131).
    attribute = _NOT_IN_A_NAME.sub("_", unicodedata.normalize("NFKC", name.lower()))
    return f"_{attribute}" if attribute[:1].isdigit() else attribute or "_"


class Columns:
    """The header of a source: names as spelled there, found in any case and by attribute."""

    __slots__ = ("attributes", "names", "positions")

    def __init__(self, names: Sequence[str]) -> None:
        """`names` are the header's cells. Raises ColumnError for a column without a name and for names that clash."""
        self.names: Final = tuple(map(clean_name, names))
        self.attributes: Final[dict[str, int]] = {}
        self.positions: Final[dict[str, int]] = {}
        for position, name in enumerate(self.names):
            if not name:
                raise ColumnError(f"column {position + 1} of the header has no name; name it or remove it")
            first = self.positions.setdefault(name_key(name), position)
            if first != position:
                raise ColumnError(
                    f"the header has {shown_name(name)} twice, as columns {first + 1} and {position + 1};"
                    " rename one of them"
                )
            first = self.attributes.setdefault(attribute_of(name), position)
            if first != position:
                raise ColumnError(
                    f"columns {shown_name(self.names[first])} and {shown_name(name)} would both be"
                    f' "{attribute_of(name)}" in a card; rename one of them'
                )

    def find_index(self, name: str) -> int | None:
        """Return the index of the column of this name, in any case and spacing, or None."""
        return self.positions.get(name_key(name))

    def require_index(self, name: str) -> int:
        """Return the index of a column that is there. Raises KeyError if it is not."""
        return self.positions[name_key(name)]


class Rows(tuple["Record", ...]):
    """The related rows of one customer that were kept; `total` is how many there are."""

    total: int

    def __new__(cls, rows: Iterable[Record], total: int | None = None) -> Rows:
        """`total` is the number of rows, if there are more than `rows`."""
        self = super().__new__(cls, rows)
        self.total = len(self) if total is None else total
        return self


class Record:
    """One row. `record.plan` and `record["Last order"]` give a text; `record.orders` the related rows of that name.

    It has no public attributes of its own, so that a column may have any name.
    """

    __slots__ = ("_columns", "_related", "_values")

    def __init__(self, columns: Columns, values: Sequence[str], related: Mapping[str, Rows] | None = None) -> None:
        self._columns = columns
        self._values = values
        self._related = related or {}

    def __getattr__(self, name: str) -> str | Rows:
        try:
            return self._values[self._columns.attributes[name]]
        except KeyError:
            pass
        try:
            return self._related[name]
        except KeyError:
            raise AttributeError(f'there is no column "{name}"') from None

    def __getitem__(self, name: str) -> str:
        return self._values[self._columns.require_index(name)]

    def __repr__(self) -> str:
        return "<Record>"  # never the values: a repr may end in a log


def record_maker(columns: Columns) -> Callable[..., Record]:
    """Return what makes a Record of `columns` from its values and related rows, with a slot for each column.

    `Record.__getattr__` is asked only after Python has looked everywhere else, failed and written a message: 4,700
    instructions, where a slot takes 10 to be read, and as many to be filled by code that is made for these columns.
    What it returns raises ValueError for another number of values than there are columns.
    """
    slots = [name if _has_slot(name) else "" for name in columns.attributes]
    kind = type("Record", (Record,), {"__slots__": tuple(filter(None, slots))})
    names: dict[str, Any] = {"new": partial(object.__new__, kind), "columns": columns}
    exec(_MAKE.format("".join(f"record.{name}, " if name else "_, " for name in slots)), names)  # noqa: S102
    make: Callable[..., Record] = names["make"]
    return make


_MAKE: Final = """
def make(values, related=None):
    record = new()
    record._columns = columns
    record._values = values
    record._related = related or {{}}
    [{}] = values
    return record
"""


def _has_slot(name: str) -> bool:
    """Return whether a column may have a slot: not what Record needs, nor what means something to Python."""
    is_special = name.startswith("__") or keyword.iskeyword(name) or hasattr(Record, name)
    return name.isidentifier() and not is_special


def fields_of(record: Record) -> Iterator[tuple[str, str]]:
    """Return each column's name, as spelled in the header, with the value of this row."""
    return zip(record._columns.names, record._values, strict=True)


def attributes_of(record: Record) -> frozenset[str]:
    """Return the names by which a template gets this row's columns and related rows."""
    return frozenset(record._columns.attributes) | frozenset(record._related)


def values_of(record: Record) -> Sequence[str]:
    """Return the values in the order of the columns."""
    return record._values


def related_of(record: Record, name: str) -> Rows:
    """Return the related rows of one table; none if there is no such table."""
    return record._related.get(name, _NO_ROWS)


def size_of(record: Record) -> int:
    """Return how many characters the values of a row and of its related rows have."""
    size = len("".join(record._values))  # half the price of the sum of their lengths
    if record._related:
        size += sum(size_of(row) for rows in record._related.values() for row in rows)
    return size


_NO_ROWS: Final = Rows(())
