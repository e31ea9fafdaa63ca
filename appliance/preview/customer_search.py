"""The search for a customer over all columns of the snapshot."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import msgspec

from appliance.cards.layout import Layout
from appliance.customers.address import normalise
from appliance.customers.address_reader import AddressReader
from appliance.customers.record import Columns, Record, values_of
from appliance.customers.snapshot import Snapshot
from appliance.ingest.spec import ImportSpec

SHOWN: Final = 20
_MAX_DECODED: Final = 100_000  # records that one search decodes: half a second
_MAX_TEXT: Final = 100
# Characters that are in a record's JSON as they were typed, and have no meaning for LIKE.
_PLAIN: Final = re.compile(r"[ !#$&-\[\]^`-~]+")


class CustomerMatch(msgspec.Struct, frozen=True):
    """A customer that was found: the name, and the addresses in normal form, at least one."""

    name: str
    addresses: tuple[str, ...]


def search(snapshot: Snapshot, plan: ImportSpec, text: str) -> tuple[CustomerMatch, ...]:
    """Return the first customers whose columns contain every word of `text`, in any case; at most SHOWN.

    Those without an address are left out: no request can be about them. A whole address is found in any snapshot;
    anything else among as many customers as can be searched in about a second. Raises SnapshotError.
    """
    layout, columns = Layout(snapshot.metadata.columns), Columns(snapshot.metadata.columns)
    reader = AddressReader(plan.addresses, columns, fold_plus=False)
    matches: dict[CustomerMatch, None] = {}
    for record in _candidates(snapshot, text[:_MAX_TEXT]):
        values = values_of(record)
        found = reader.read([values])
        addresses = [*found.main, *(address for _, address in found.more)]
        if addresses[0] is not None:
            matches[CustomerMatch(layout.heading(values), tuple(filter(None, addresses)))] = None
        if len(matches) == SHOWN:
            break
    return tuple(matches)


def _candidates(snapshot: Snapshot, text: str) -> Iterator[Record]:
    words = [_fold(word) for word in text.split()]
    address = normalise(text)
    if address is not None:
        yield from snapshot.find((address,))
    # SQLite ignores the case of ASCII only, so it selects by the longest plain piece of a word.
    pieces = [piece for word in text.split() for piece in _PLAIN.findall(word)]
    for record in snapshot.search(f"%{max(pieces, key=len, default='')}%", _MAX_DECODED):
        values = [_fold(value) for value in values_of(record)]
        if all(any(word in value for value in values) for word in words):
            yield record


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
