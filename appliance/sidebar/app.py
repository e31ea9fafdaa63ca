"""The core: from a request's body and signature to a finished answer.

No socket, no logger, no clock of its own. `serve`, `card`, `preview`, `replay` and the tests all call `answer`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

from appliance.customers.address import domain_of, fold_plus, normalise
from appliance.customers.lookup import CacheState, Lookup, NotLoaded
from appliance.customers.record import Record
from appliance.customers.snapshot import Snapshot
from appliance.sidebar import card
from appliance.sidebar.payload import BadPayload, Id, Payload, Ticket, parse
from appliance.sidebar.reply import CARD_STATUS, Outcome, Refusal, Reply
from appliance.sidebar.signature import Verifier

MAX_ADDRESSES: Final = 50
# 0.6 us an address, three a request, and the same ones come again; an import has no use for it.
_normalise: Final = lru_cache(maxsize=16_384)(normalise)
_encode: Final = msgspec.json.Encoder().encode


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The part of an answer that does not depend on who asked: what the caches hold."""

    outcome: Outcome
    body: bytes
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What `[customers]` says of asking and of age. `max_age` is seconds, or None for never."""

    ignore_domains: frozenset[str] = frozenset()
    plus_addressing: bool = False
    max_age: float | None = None
    zone: tzinfo = UTC


class SidebarApp:
    """One `[[app]]`: its secrets, its customers, its card."""

    def __init__(
        self,
        name: str,
        verifier: Verifier,
        lookup: Lookup[Finished],
        *,
        clock: Callable[[], float],
        log_key: bytes,
        rules: Rules | None = None,
    ) -> None:
        """`clock` gives seconds since 1970; `log_key`, at most 64 bytes, keys the hash of customers in logs."""
        self.name: Final = name
        self._verifier = verifier
        self._lookup = lookup
        self._clock = clock
        self._log_key = log_key
        self._rules = rules or Rules()

    def use(self, snapshot: Snapshot | None) -> None:
        """Answer from `snapshot` from now on; None: the data is not loaded."""
        self._lookup.use(snapshot)

    def answer(self, body: bytes, signature: bytes | None) -> Reply:
        """Give the answer to one POST: `body` as it came, `signature` the header's value or None.

        The signature is checked over the raw bytes before anything reads them. Raises nothing, whatever the bytes.
        """
        if not self._verifier.verify(body, signature):
            return Refusal.BAD_SIGNATURE.reply
        try:
            payload = parse(body)
        except BadPayload:
            return Refusal.BAD_PAYLOAD.reply
        addresses, cut = asked_for(payload, self._rules)
        if addresses:
            finished, cache = self._look_up(addresses, cut)
        else:
            finished, cache = (_DRAFT if payload.is_draft else _NO_ADDRESS), ""
        return Reply(
            CARD_STATUS,
            finished.outcome,
            finished.body,
            cache=cache,
            conversation=_number(payload.ticket.id) if isinstance(payload.ticket, Ticket) else None,
            mailbox=_number(payload.mailbox.id) if payload.mailbox else None,
            agent=_number(payload.user.id) if payload.user else None,
            customer=finished.customer,
        )

    def _look_up(self, addresses: tuple[str, ...], cut: bool) -> tuple[Finished, CacheState | str]:
        old = self._is_old()

        def build(snapshot: Snapshot, records: tuple[Record, ...]) -> Finished:
            html = card.found(records, cut) if records else card.unknown(addresses, cut)
            if old:
                html += card.old(snapshot.facts.as_of, self._clock(), self._rules.zone)
            outcome = Outcome.FOUND if records else Outcome.UNKNOWN
            return _finish(outcome, html, self._hash(addresses[0]))

        try:
            return self._lookup.answer(addresses, (cut, old), build)
        except (NotLoaded, sqlite3.Error):  # a damaged snapshot is as good as none: nobody is called unknown by it
            return _NOT_LOADED, ""

    def _is_old(self) -> bool:
        max_age, snapshot = self._rules.max_age, self._lookup.snapshot
        return max_age is not None and snapshot is not None and self._clock() - snapshot.facts.as_of > max_age

    def _hash(self, address: str) -> str:
        return hashlib.blake2b(address.encode(), key=self._log_key, digest_size=8).hexdigest()


def asked_for(payload: Payload, rules: Rules) -> tuple[tuple[str, ...], bool]:
    """Give the addresses to look up, in normal form, each once, the main one first; and whether there were more.

    The mailbox's own address is left out: it is no customer's, though it stands in mail that was forwarded to it.
    So are those of domains to ignore.
    """
    customer = payload.customer
    if customer is None:
        return (), False
    texts: Sequence[str] = customer.emails or ()
    if customer.email:
        texts = (customer.email, *texts)
    addresses = dict.fromkeys(map(_normalise, texts))
    addresses.pop(None, None)
    if payload.mailbox is not None and payload.mailbox.email:
        addresses.pop(_normalise(payload.mailbox.email), None)
    if rules.ignore_domains:
        addresses = dict.fromkeys(one for one in addresses if one and domain_of(one) not in rules.ignore_domains)
    if rules.plus_addressing:
        addresses = dict.fromkeys(fold_plus(one) for one in addresses if one)
    distinct = tuple(address for address in addresses if address is not None)
    return distinct[:MAX_ADDRESSES], len(distinct) > MAX_ADDRESSES


def _number(identifier: Id | None) -> int | None:
    """Give an id as its log line may hold it: Help Scout's are numbers, and any other text could be somebody's name."""
    if isinstance(identifier, str):
        return int(identifier) if identifier.isascii() and identifier.isdigit() and len(identifier) <= 18 else None
    return identifier if identifier is not None and 0 <= identifier < 10**18 else None


def _finish(outcome: Outcome, html: str, customer: str | None = None) -> Finished:
    return Finished(outcome, _encode({"html": html}), customer)


_DRAFT: Final = _finish(Outcome.DRAFT, card.draft())
_NO_ADDRESS: Final = _finish(Outcome.NO_ADDRESS, card.no_address())
_NOT_LOADED: Final = _finish(Outcome.NOT_LOADED, card.not_loaded())
