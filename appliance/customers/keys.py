"""Keys: values other than addresses by which customers are found, in their own columns or in related rows.

`[[app.subject]]` names the columns; each gets an index in the snapshot. Keys are compared as a whole, ignoring case and
surrounding spaces, because customers write abc-123 for ABC-123. They are never patterns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final

from appliance.customers.column_name import name_key

MAX_KEY: Final = 200
"""Characters of a key. Longer values are not indexed, because no subject can contain them."""


def key_of(text: str) -> str | None:
    """Return the normal form of a key, or None if it is empty or too long to be one."""
    key = unicodedata.normalize("NFC", text.strip()).casefold()
    return key if 0 < len(key) <= MAX_KEY else None


def split(name: str, tables: Collection[str]) -> tuple[str, str]:
    """Return the related table, "" for the customers, and the column that `name` means, such as "orders.total"."""
    before, dot, column = name.partition(".")
    table = next((table for table in tables if name_key(table) == name_key(before)), None)
    return (table, column) if dot and table is not None else ("", name)
