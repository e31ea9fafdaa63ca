"""Customers found by what is no address: the value of a column of theirs, or of a related row of theirs.

Which columns is for `[[app.subject]]` to say; each gets an index in the snapshot. Keys are compared whole, in any case,
without the spaces around them: an agent's customers write abc-123 for ABC-123, and never a pattern.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final

from appliance.customers.column_name import name_key

MAX_KEY: Final = 200
"""Characters of a key; a longer value is not found by, for no subject can name it."""


def key_of(text: str) -> str | None:
    """Give the normal form of a key, or None if it is empty or too long to be one."""
    key = unicodedata.normalize("NFC", text.strip()).casefold()
    return key if 0 < len(key) <= MAX_KEY else None


def split(name: str, tables: Collection[str]) -> tuple[str, str]:
    """Give the related table, "" for the customers, and the column that `name` means, such as "orders.total"."""
    before, dot, column = name.partition(".")
    table = next((table for table in tables if name_key(table) == name_key(before)), None)
    return (table, column) if dot and table is not None else ("", name)
