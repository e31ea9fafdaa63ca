"""The core: from a help desk's request to a reply, in a straight line.

    authenticate -> parse -> cached? -> find -> render -> cache -> reply

No socket, no logger, no clock of its own. `serve`, `card`, `preview`, `replay` and the tests all call `answer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache, partial
from typing import Final

import msgspec

from appliance.cards import builtin
from appliance.cards.layout import Layout
from appliance.cards.template import CardTemplate, TemplateError
from appliance.cards.vary import Vary
from appliance.config.schema import Display
from appliance.customers.address import domain_of, fold, normalise
from appliance.customers.address_reader import AddressReader
from appliance.customers.id_map import IdMapError
from appliance.customers.ids import Change, Ids, says_more
from appliance.customers.record import Columns, Record, values_of
from appliance.customers.since import Since
from appliance.customers.snapshot import MAX_FOUND, Company, Snapshot, SnapshotError
from appliance.outcomes import Advice, Outcome, Reply
from appliance.sidebar.answer_cache import AnswerCache, CachedAnswer, CacheState
from appliance.sidebar.inquiry import Answer, Inquiry
from appliance.sidebar.learning import change_by
from appliance.sidebar.protocols.base import (
    BAD_PAYLOAD,
    BAD_SIGNATURE,
    Diagnosis,
    HelpDesk,
    InquiryError,
    RequestRefused,
    SignedRequest,
)
from appliance.sidebar.subject import SubjectMatch, SubjectRule, match_subject

MAX_ADDRESSES: Final = 50
_MAX_TEXTS: Final = 4 * MAX_ADDRESSES  # read at all: a bad domain costs 40 us, and 256 KiB hold thousands
_MAX_CACHEABLE: Final = 4 * 1024  # larger messages are not cached: 10,000 of them would be 160 MB of keys and more


@dataclass(frozen=True, slots=True)
class Rules:
    """What `[customers]` says of asking and of age. `max_age` is seconds, or None for never.

    `address_columns` are those whose first address a customer is logged by whom no address has found. `id_column`, one
    of the snapshot's `keys`, holds the help desk's id of a customer; "": none does.
    """

    ignore_domains: frozenset[str] = frozenset()
    plus_addressing: bool = False
    max_age: float | None = None
    zone: tzinfo = UTC
    address_columns: tuple[str, ...] = ()
    gmail_dots: bool = False
    id_column: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What `[[app]]` says of its card: a template or else the built-in one, and what decides it besides addresses."""

    template: CardTemplate | None = None
    display: Display = field(default_factory=Display)
    vary: Vary = field(default_factory=Vary)
    subject: tuple[SubjectRule, ...] = ()


class _Query(msgspec.Struct, frozen=True, gc=False):
    """What is looked up for one inquiry, and what its answer depends on besides the customers."""

    protocol: HelpDesk  # its answer cannot be another's
    addresses: tuple[str, ...]
    truncated: bool  # there were more
    stale: bool  # the data is
    varied: tuple[str, ...]
    matches: tuple[SubjectMatch, ...] = ()  # what the subject names; then it is looked up, and no address
    customer: int | None = None  # the help desk's id, of a protocol that sends no address; then it is looked up
    is_known: bool = True  # whether anything is known of the addresses of that id


class SidebarApp:
    """One `[[app]]`: its protocols, its customers, its card. All protocols share the customers and the cache."""

    def __init__(
        self,
        name: str,
        protocols: Sequence[HelpDesk],
        cache: AnswerCache,
        *,
        clock: Callable[[], float],
        log_key: bytes,
        rules: Rules | None = None,
        card: Card | None = None,
        names_addresses: bool = False,
        ids: Ids | None = None,
    ) -> None:
        """The first of `protocols` is the one that `protocol` of the `[[app]]` names.

        `clock` returns seconds since 1970; `log_key`, at most 64 bytes, keys the hash of customers in logs.
        `names_addresses` has every reply hold the address that it is about, for an audit trail that names it. `ids` is
        what is known of the help desk's ids, for protocols that send nothing else.
        """
        self.name: Final = name
        self.protocols: Final = tuple(protocols)
        self.protocol: Final = self.protocols[0]
        self._cache = cache
        self._clock = clock
        self._since = Since()
        self._hasher = hashlib.blake2b(key=log_key, digest_size=8)  # copied: half the price of a new one
        self._rules = rules or Rules()
        self._card = card or Card()
        self._subject_rules = self._card.subject
        self._names_addresses = names_addresses
        self._ids = ids
        self._notices = {
            (protocol, outcome): self._finish(protocol, outcome, html())
            for protocol in self.protocols
            for outcome, html in _NOTICES.items()
        }
        self.use(None)

    def use(self, snapshot: Snapshot | None) -> None:
        """Answer from `snapshot` from now on; None: the data is not loaded. What was cached is dropped."""
        self._snapshot = snapshot
        self._told_of_damage = False
        facts = snapshot.metadata if snapshot is not None else None
        columns, relations = (facts.columns, facts.relations) if facts is not None else ((), ())
        rules = self._rules
        self._layout = Layout(columns, relations, self._card.display, rules.zone)
        self._reader = AddressReader(
            rules.address_columns if facts is not None else (),
            Columns(columns),
            fold_plus=rules.plus_addressing,
            gmail_dots=rules.gmail_dots,
        )
        self._cache.clear()

    def expire_cache(self) -> None:
        """Remove cached answers whose time is over. To be called now and then."""
        self._cache.expire()

    def explain(self, request: SignedRequest) -> tuple[Diagnosis, Advice]:
        """Return why a refused request may be wrong, and what to do: for the operator, never for the client."""
        return self.protocol.explain(request)

    def answer(self, request: SignedRequest, protocol: HelpDesk | None = None) -> Reply:
        """Return the reply to one request, by the first of the app's protocols or the one given.

        The request is authenticated over its raw bytes before anything reads them. Raises nothing, whatever the bytes.
        """
        if protocol is None:
            protocol = self.protocol
        try:
            signed = protocol.authenticate(request)
            if signed is None:
                return BAD_SIGNATURE
            inquiry = protocol.parse(signed)
        except InquiryError:
            return BAD_PAYLOAD
        except RequestRefused as refused:
            return refused.reply
        cacheable = len(request.body) <= _MAX_CACHEABLE
        if inquiry.customer is not None:
            answer, cache = self._by_id(protocol, inquiry, inquiry.customer)
        else:
            answer, cache = self._by_address(protocol, inquiry, cacheable)
        if self._subject_rules and answer.outcome in _NOBODY:
            answer, cache = self._by_subject(protocol, inquiry, answer, cache, cacheable)
        return Reply(
            response=answer.response,
            outcome=answer.outcome,
            cache=cache,
            conversation=inquiry.conversation,
            mailbox=inquiry.mailbox,
            agent=inquiry.agent,
            customer=answer.customer,
            address=answer.address,
            taught=None if cache is _HIT else self._taught(protocol, signed, inquiry),
            unknown_id=inquiry.customer if answer.outcome is _UNKNOWN_ID else None,
            fault="" if cache is _HIT else answer.fault,  # said once, not for as long as it is cached
        )

    def _by_address(
        self, protocol: HelpDesk, inquiry: Inquiry, cacheable: bool
    ) -> tuple[CachedAnswer, CacheState | str]:
        """Return the answer for the addresses, and where it came from."""
        stale = self._is_stale()
        # The texts as they came decide the addresses, so they are the key: normal forms cost 0.7 us a request.
        key = (protocol, inquiry.addresses, inquiry.own_address, stale, inquiry.varied)
        if cacheable and (cached := self._cache.find(key)) is not None:
            return cached, _HIT
        addresses, truncated = addresses_of(inquiry, self._rules)
        if not addresses:
            return self._notices[protocol, inquiry.otherwise], ""
        query = _Query(protocol, addresses, truncated, stale, inquiry.varied)
        return self._look_up(query, key if cacheable else None)

    def _by_id(self, protocol: HelpDesk, inquiry: Inquiry, customer: int) -> tuple[CachedAnswer, CacheState | str]:
        """Return the answer for the customer whom the help desk knows by this id."""
        try:
            held = self._ids.find(customer) if self._ids is not None else None
        except (IdMapError, OSError):  # whoever keeps the map says so; the column may know the id
            held = None
        texts = held.addresses if held is not None else None
        addresses, truncated = addresses_of(Inquiry(addresses=texts or ()), self._rules)
        # What is known of the id is part of the key, so that a change shows at once.
        query = _Query(
            protocol,
            addresses,
            truncated,
            self._is_stale(),
            inquiry.varied,
            customer=customer,
            is_known=texts is not None,
        )
        if (cached := self._cache.find(query)) is not None:
            return cached, _HIT
        return self._look_up(query, query)

    def _taught(self, protocol: HelpDesk, signed: object, inquiry: Inquiry) -> Change | None:
        """Return what a request says of an id that is not known yet, be it that a page asks for it."""
        if self._ids is None:
            return None
        change = change_by(inquiry, protocol.teaches(signed), now := self._clock())
        try:
            return change if change is not None and says_more(change, self._ids.find(change.customer), now) else None
        except (IdMapError, OSError):
            return None

    def _by_subject(
        self,
        protocol: HelpDesk,
        inquiry: Inquiry,
        nobody: CachedAnswer,
        cache: CacheState | str,
        cacheable: bool,
    ) -> tuple[CachedAnswer, CacheState | str]:
        """Return the answer for what the subject names, or `nobody` if it names nothing."""
        matches = match_subject(inquiry.subject, self._subject_rules)
        if not matches:
            return nobody, cache
        query = _Query(protocol, *addresses_of(inquiry, self._rules), self._is_stale(), inquiry.varied, matches)
        if cacheable and (cached := self._cache.find(query)) is not None:
            return cached, _HIT
        return self._look_up(query, query if cacheable else None)

    def _look_up(self, query: _Query, key: Hashable | None) -> tuple[CachedAnswer, CacheState | str]:
        """Find the customers, make the answer of them, and keep it under `key`, unless that is None."""
        snapshot = self._snapshot
        if snapshot is None:
            return self._notices[query.protocol, Outcome.NOT_LOADED], ""
        try:
            if query.matches:
                records = snapshot.find_by_keys([(match.column, match.key) for match in query.matches])
            elif query.customer is not None:
                column = self._rules.id_column
                keys = [(column, str(query.customer))] if column else []
                records = snapshot.find_by_keys_and_addresses(keys, query.addresses)
            else:
                records = snapshot.find(query.addresses)
            company = None if records else snapshot.find_company(query.addresses)
        except SnapshotError as error:  # treated as not loaded: nobody is called unknown by it
            first, self._told_of_damage = not self._told_of_damage, True
            fault = str(error) if first else ""
            return self._finish(query.protocol, Outcome.NOT_LOADED, builtin.not_loaded(), fault=fault), ""
        answer = self._render(query, snapshot, records, company)
        if key is not None:
            self._cache.store(key, answer, found=bool(records))
        return answer, _MISS

    def _render(
        self, query: _Query, snapshot: Snapshot, records: tuple[Record, ...], company: Company | None
    ) -> CachedAnswer:
        """Make the answer of what was found."""
        named = [(match.title, match.value) for match in query.matches] if query.matches else ()
        fault = ""
        if records:
            outcome, html, fault = self._render_records(query, snapshot, records)
            if named:
                html = builtin.found_by(named) + html
        elif company is not None:
            outcome, html, fault = self._render_records(query, snapshot, (company.record,))
            outcome = Outcome.COMPANY if outcome is Outcome.FOUND else outcome
            html = builtin.of_company(company.domain, company.members) + html
        elif query.addresses:
            outcome, html = Outcome.UNKNOWN, builtin.unknown(query.addresses, query.truncated, named)
        elif query.customer is not None and not query.is_known:
            outcome, html = Outcome.UNKNOWN_ID, builtin.unknown_id()
        else:
            outcome, html = Outcome.NO_ADDRESS, builtin.no_address(named)
        if query.stale:
            now = self._clock()
            html += builtin.stale(self._since.at(snapshot.as_of, now), now, self._rules.zone)
        identity = query.addresses[0] if query.addresses else None
        if query.matches and records:  # what the log knows a customer by whom the subject has named: not who writes
            identity = self._main_addresses(records[:1])[0] or query.matches[0].key
        if query.customer is not None and identity is None:
            identity = self._main_addresses(records[:1])[0] if records else None
            identity = identity or f"{_ID}{query.customer}"
        if company is not None:  # whose data is shown, as far as it is one customer's
            identity = self._main_addresses([company.record])[0] or company.domain
        return self._finish(query.protocol, outcome, html, identity, fault)

    def _render_records(
        self, query: _Query, snapshot: Snapshot, records: tuple[Record, ...]
    ) -> tuple[Outcome, str, str]:
        """Return the operator's card; if it fails on these customers, the built-in one and what is wrong."""
        fault = ""
        template, zone = self._card.template, self._rules.zone
        if template is not None:
            clock = self._clock()
            as_of = _time_of_data(self._since.at(snapshot.as_of, clock), zone)
            parts = self._card.vary.parts(query.varied) if query.varied else None
            try:
                addresses = query.addresses
                if query.customer is not None and not addresses:  # a card that reads addresses finds its customers'
                    addresses = tuple(dict.fromkeys(filter(None, self._main_addresses(records[:MAX_FOUND]))))
                now = partial(datetime.fromtimestamp, clock, zone)
                html = template.render(records[:MAX_FOUND], addresses, as_of, now, parts)
                return _FOUND, html, ""
            except TemplateError as error:
                fault = str(error)
        html = builtin.found(records, self._layout, query.truncated)
        return Outcome.CARD_FAULT if fault else Outcome.FOUND, html, fault

    def _main_addresses(self, records: Sequence[Record]) -> list[str | None]:
        """Return the first address of each."""
        return self._reader.read([values_of(record) for record in records]).main

    def _finish(
        self, protocol: HelpDesk, outcome: Outcome, html: str, identity: str | None = None, fault: str = ""
    ) -> CachedAnswer:
        response = protocol.render(Answer(outcome, html))
        if identity is None:
            return CachedAnswer(outcome, response, None, fault)
        is_named = self._names_addresses and not identity.startswith(_ID)  # an id names nobody to who reads the trail
        return CachedAnswer(outcome, response, self._hash(identity), fault, identity if is_named else "")

    def _is_stale(self) -> bool:
        max_age, snapshot = self._rules.max_age, self._snapshot
        if max_age is None or snapshot is None:
            return False
        now = self._clock()
        return now - self._since.at(snapshot.as_of, now) > max_age

    def _hash(self, identity: str) -> str:
        hasher = self._hasher.copy()
        hasher.update(identity.encode())
        return hasher.hexdigest()


# In Python 3.11 each `Outcome.FOUND` calls a function: 650 instructions, in the place of 10 for these.
_HIT, _MISS, _FOUND, _UNKNOWN_ID = CacheState.HIT, CacheState.MISS, Outcome.FOUND, Outcome.UNKNOWN_ID

_time_of_data = lru_cache(8)(datetime.fromtimestamp)  # which is the same until the next import
_ID: Final = "id "  # before a help desk's id that stands for a customer without an address
_NOBODY: Final = (Outcome.UNKNOWN, Outcome.NO_ADDRESS, Outcome.COMPANY)
_NOTICES: Final = {
    Outcome.DRAFT: builtin.draft,
    Outcome.NO_ADDRESS: builtin.no_address,
    Outcome.NO_CUSTOMER: builtin.no_customer,
    Outcome.OTHER_INBOX: builtin.other_inbox,
    Outcome.NOT_LOADED: builtin.not_loaded,
}
"""The cards that depend on nothing but the outcome."""


def addresses_of(inquiry: Inquiry, rules: Rules) -> tuple[tuple[str, ...], bool]:
    """Return the addresses to look up, in normal form, each once, the main one first; and whether there were more.

    The inbox's own address is left out, and so are those of domains to ignore.
    """
    texts, ignored = inquiry.addresses, rules.ignore_domains
    folds = rules.plus_addressing or rules.gmail_dots
    own = _normalise_own(inquiry.own_address)
    own = _folded(own, rules) if folds else own
    addresses: dict[str, None] = {}
    for text in texts[:_MAX_TEXTS]:
        address = _folded(normalise(text), rules) if folds else normalise(text)
        if address is not None and address != own and not (ignored and domain_of(address) in ignored):
            addresses[address] = None
    distinct = tuple(addresses)
    return distinct[:MAX_ADDRESSES], len(distinct) > MAX_ADDRESSES or len(texts) > _MAX_TEXTS


_normalise_own = lru_cache(64)(normalise)  # an inbox has one, which is in each of its requests


def _folded(form: str | None, rules: Rules) -> str | None:
    return None if form is None else fold(form, plus=rules.plus_addressing, gmail_dots=rules.gmail_dots)
