"""Parses a cell of addresses: one or many, bare, as links, or after names as in `Ada Lovelace <ada@example.com>`.

A cell is a list of items separated by commas, semicolons and line ends. An item is one or more addresses separated by
spaces, or one address after a name. If an item contains anything else, nothing in it is used: half of
"ada smith@example.com" is another person's address.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from appliance.customers.address import normalise

# Commas and semicolons within quotes are part of a name.
_ITEM: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^;,\r\n"]|")+')
_BETWEEN: Final = re.compile(r"[\s;,]+")
_NAMED: Final = re.compile(r"[^<>]*<\s*([^<>]+?)\s*>")
_COMMENT: Final = re.compile(r"\s*\([^()]*\)\Z")  # RFC 5322, 3.2.2, as old programs write a name
_SCHEME_ALONE: Final = re.compile(r"\b(mailto|smtp):\s+", re.IGNORECASE)


class Cell(NamedTuple):
    """What a cell contains."""

    addresses: tuple[str, ...]
    """In normal form and in order; an address may occur twice."""

    understood: bool
    """Whether it contained nothing else."""


def read_cell(text: str, limit: int | None = None) -> Cell:
    """Return the addresses in a cell. Items after the first `limit` addresses are not read."""
    words = _BETWEEN.split(text)
    found = [normalise(word) for word in words[:limit] if word]
    if None not in found:  # as in nearly all cells
        return Cell(tuple(found), understood=True)  # type: ignore[arg-type]  # there is no None in it
    addresses: list[str] = []
    understood = True
    for item in _ITEM.finditer(text):
        if limit is not None and len(addresses) >= limit:
            break
        read = _read_item(item[0].strip(), limit)
        if read is None:
            understood = False
        else:
            addresses += read
    return Cell(tuple(addresses), understood)


def _read_item(text: str, limit: int | None) -> list[str] | None:
    """Return the addresses of one item, or None if its first `limit` words contain anything else."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # as Outlook writes one without a name
        text = text[1:-1]
    address = normalise(text)
    if address is not None:
        return [address]
    if named := _NAMED.fullmatch(text):
        address = normalise(named[1])
        return None if address is None else [address]
    uncommented = _COMMENT.sub("", text)
    if text and not uncommented:
        return None
    addresses = [normalise(word) for word in _SCHEME_ALONE.sub(r"\1:", uncommented).split()[:limit]]
    return None if None in addresses else addresses  # type: ignore[return-value]  # there is no None in it
