"""The customers to choose from: a search over every column of the snapshot."""

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
from appliance.ingest.spec import Plan

SHOWN: Final = 20
_LOOKED_AT: Final = 100_000  # records that are decoded for one search: half a second
_MAX_TEXT: Final = 100
# What stands in a record's JSON as it was typed, and means nothing to LIKE.
_PLAIN: Final = re.compile(r"[ !#$&-\[\]^`-~]+")


class Person(msgspec.Struct, frozen=True):
    """A customer: the name, and the addresses in normal form, at least one."""

    name: str
    addresses: tuple[str, ...]


def search(snapshot: Snapshot, plan: Plan, text: str) -> tuple[Person, ...]:
    """Give the first customers in whose columns every word of `text` stands, whatever the case; at most SHOWN.

    Those without an address are left out: nothing can be asked about them. A whole address is found in any snapshot;
    anything else among as many customers as can be looked through in about a second. Raises SnapshotFault.
    """
    layout, columns = Layout(snapshot.facts.columns), Columns(snapshot.facts.columns)
    reader = AddressReader(plan.addresses, columns, fold_plus=False)
    people: dict[Person, None] = {}
    for record in _candidates(snapshot, text[:_MAX_TEXT]):
        values = values_of(record)
        found = reader.read([values])
        addresses = [*found.main, *(address for _, address in found.more)]
        if addresses[0] is not None:
            people[Person(layout.heading(values), tuple(filter(None, addresses)))] = None
        if len(people) == SHOWN:
            break
    return tuple(people)


def _candidates(snapshot: Snapshot, text: str) -> Iterator[Record]:
    words = [_fold(word) for word in text.split()]
    address = normalise(text)
    if address is not None:
        yield from snapshot.find((address,))
    # SQLite compares ASCII without case and nothing else, so it picks by the longest plain piece of a word.
    pieces = [piece for word in text.split() for piece in _PLAIN.findall(word)]
    for record in snapshot.like(f"%{max(pieces, key=len, default='')}%", _LOOKED_AT):
        values = [_fold(value) for value in values_of(record)]
        if all(any(word in value for value in values) for word in words):
            yield record


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
