"""Which addresses the help desk's id of a customer stands for: what is known, and how it changes.

Pages are told an id and no address. What is known of ids comes as changes, in any order and more than once, since
deliveries are repeated and late:

    what is held                REPLACE                      ADD                       DELETE
    nothing                     replaced                     added                     deleted: a mark
    addresses, as of a time     replaced, unless it is of    added; the time stays     deleted: a mark
                                an earlier time: stale
    a mark, not yet expired     stale, unless it is of a     stale                     deleted: the mark begins anew
                                later time: replaced

A mark keeps a late delivery from bringing back what was deleted. When it has expired, it is as nothing.

The day on which an id was seen last, named by anybody or asked for by a page, is held with its addresses, so that an id
of which nobody speaks any more can be forgotten. It is written once in SEEN_EVERY days. SEEN changes nothing else.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

import msgspec

from appliance.customers.address import normalise

MARK_SECONDS: Final = 7 * 86400.0
"""How long a mark stays: longer than a webhook is tried again."""

DAY: Final = 86400.0
SEEN_EVERY: Final = 7
"""Days: an id that is asked for all day costs one line of the journal a week."""

MAX_ID: Final = 2**63 - 1
MAX_ADDRESSES: Final = 50
"""Of one id, as of one message."""


class Kind(enum.StrEnum):
    """What a change does to an id's addresses."""

    REPLACE = "replace"
    ADD = "add"
    DELETE = "delete"
    SEEN = "seen"


class Source(enum.StrEnum):
    """Who has said something of an id."""

    WEBHOOK = "webhook"
    MESSAGE = "message"
    PAGE = "page"
    API = "api"
    FILL = "fill"
    OPERATOR = "operator"


class Change(msgspec.Struct, frozen=True, gc=False, tag=True):
    """One thing that was said about an id. `as_of` is of when, in seconds since 1970."""

    customer: int
    kind: Kind
    addresses: tuple[str, ...]
    """In normal form."""
    as_of: float
    source: Source = Source.WEBHOOK


class Known(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is held of an id: its addresses, or a mark that it was deleted."""

    addresses: tuple[str, ...] | None
    """In normal form; empty: it has none; None: it was deleted."""
    as_of: float
    seen: int = 0
    """The day on which it was seen last, or one up to SEEN_EVERY before that; since 1970."""


class Ids(Protocol):
    """Knows ids: the map on the disk, or what stands in for it."""

    def find(self, customer: int) -> Known | None:
        """Return what is held of an id; None: nothing."""


class Result(enum.StrEnum):
    """What a change has led to."""

    REPLACED = "replaced"
    ADDED = "added"
    DELETED = "deleted"
    STALE = "stale"


def apply(held: Known | None, change: Change, now: float) -> tuple[Result, Known | None]:
    """Return what a change leads to, and what is held of its id afterwards. `now` is in seconds since 1970."""
    if held is not None and has_expired(held, now):
        held = None
    result, after = _apply(held, change)
    if after is None or after.addresses is None or not is_long_unseen(after, now):
        return result, after
    return result, Known(after.addresses, after.as_of, int(now // DAY))


def _apply(held: Known | None, change: Change) -> tuple[Result, Known | None]:
    seen = held.seen if held is not None else 0
    if change.kind is Kind.SEEN:
        return Result.STALE, held
    if change.kind is Kind.DELETE:
        return Result.DELETED, Known(None, max(change.as_of, held.as_of) if held is not None else change.as_of)
    if held is not None and held.addresses is None and (change.kind is Kind.ADD or change.as_of <= held.as_of):
        return Result.STALE, held
    if change.kind is Kind.REPLACE:
        if held is not None and change.as_of < held.as_of:
            return Result.STALE, held
        return Result.REPLACED, Known(change.addresses[:MAX_ADDRESSES], change.as_of, seen)
    before = held.addresses or () if held is not None else ()
    addresses = tuple(dict.fromkeys((*before, *change.addresses)))[:MAX_ADDRESSES]
    return Result.ADDED, Known(addresses, held.as_of if held is not None else 0.0, seen)


def has_expired(held: Known, now: float) -> bool:
    """Return whether this is a mark whose time is over."""
    return held.addresses is None and now - held.as_of > MARK_SECONDS


def is_long_unseen(held: Known, now: float) -> bool:
    """Return whether to write that an id was seen now. One of the future, by a clock that was wrong, is as none."""
    return not 0 <= int(now // DAY) - held.seen < SEEN_EVERY


def says_more(change: Change, held: Known | None, now: float) -> bool:
    """Return whether a change would change what is held, besides the order and the time."""
    if held is None or held.addresses is None:
        return bool(change.addresses)
    if is_long_unseen(held, now):
        return True
    missing = set(change.addresses) - set(held.addresses)
    return bool(missing) or (change.kind is Kind.REPLACE and set(held.addresses) != set(change.addresses))


def normal_forms(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses in some texts, in normal form, each once; what is no address is left out."""
    return tuple(dict.fromkeys(filter(None, map(normalise, texts))))[:MAX_ADDRESSES]
