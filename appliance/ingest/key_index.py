"""Builds the index of keys of a new snapshot: which customer has which value in which column."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from appliance.customers.keys import key_of, split
from appliance.customers.record import Columns

_CUSTOMERS: Final = """INSERT OR IGNORE INTO customer_key SELECT ?, key, number FROM
(SELECT key_of(json_extract(record, ?)) AS key, number FROM customer) WHERE key IS NOT NULL ORDER BY key, number"""
_JOIN_VALUES: Final = """CREATE TEMP TABLE join_value AS
SELECT stripped(json_extract(record, '$[{}]')) AS address, number AS customer FROM customer"""
_RELATED: Final = """INSERT OR IGNORE INTO customer_key SELECT ?, row.key, owner.customer FROM
(SELECT key_of(json_extract(record, ?)) AS key, key AS joins FROM joined) AS row
JOIN {} AS owner ON owner.address = row.joins WHERE row.key IS NOT NULL ORDER BY row.key, owner.customer"""


class KeyIndexer:
    """Fills the table `customer_key` of a snapshot that is being built."""

    def __init__(self, database: sqlite3.Connection, names: Sequence[str], tables: Collection[str]) -> None:
        """`names` are those of the spec, and a name's place among them is its number in the table."""
        self._database = database
        self._wanted = [(number, *split(name, tables)) for number, name in enumerate(names)]
        database.create_function("key_of", 1, key_of, deterministic=True)
        database.create_function("stripped", 1, str.strip, deterministic=True)

    def columns_of(self, table: str) -> list[str]:
        """Return the columns that a related table, or the customers (""), must have."""
        return [column for _, of, column in self._wanted if of == table]

    def customers(self, columns: Columns) -> None:
        """Index the customers, which have been stored."""
        for number, table, column in self._wanted:
            if not table:
                self._database.execute(_CUSTOMERS, (number, f"$[{columns.require_index(column)}]"))

    def related(self, table: str, columns: Columns, on: int, *, by_address: bool) -> None:
        """Index the rows of a related table, which are in `joined`; `on` is the index of the customers' column."""
        wanted = [(number, column) for number, of, column in self._wanted if of == table]
        if not wanted:
            return
        if not by_address:
            self._database.execute(_JOIN_VALUES.format(on))
            self._database.execute("CREATE INDEX temp.by_join_value ON join_value(address)")
        owners = "address" if by_address else "join_value"
        for number, column in wanted:
            self._database.execute(_RELATED.format(owners), (number, f"$[{columns.require_index(column)}]"))
        if not by_address:
            self._database.execute("DROP TABLE join_value")
