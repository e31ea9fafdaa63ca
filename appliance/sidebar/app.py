"""The core: from a help desk's request to a reply, in a straight line.

    authenticate -> parse -> cached? -> find -> render -> cache -> reply

No socket, no logger, no clock of its own. `serve`, `card`, `preview`, `replay` and the tests all call `answer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Final, NamedTuple

from appliance.cards import builtin
from appliance.cards.layout import Layout
from appliance.cards.template import CardTemplate, TemplateError
from appliance.cards.vary import Vary
from appliance.config.schema import Display
from appliance.customers.address import domain_of, fold, normalise
from appliance.customers.address_reader import AddressReader
from appliance.customers.record import Columns, Record, values_of
from appliance.customers.since import Since
from appliance.customers.snapshot import MAX_FOUND, Company, Snapshot, SnapshotError
from appliance.outcomes import Advice, Outcome, Reply
from appliance.sidebar.answer_cache import AnswerCache, CachedAnswer, CacheState
from appliance.sidebar.inquiry import Answer, Inquiry
from appliance.sidebar.protocols.base import (
    BAD_PAYLOAD,
    BAD_SIGNATURE,
    Diagnosis,
    HelpDesk,
    InquiryError,
    SignedRequest,
)
from appliance.sidebar.subject import SubjectMatch, SubjectRule, match_subject

MAX_ADDRESSES: Final = 50
_MAX_TEXTS: Final = 4 * MAX_ADDRESSES  # read at all: a bad domain costs 40 us, and 256 KiB hold thousands
_MAX_CACHEABLE: Final = 4 * 1024  # larger messages are not cached: 10,000 of them would be 160 MB of keys and more


@dataclass(frozen=True, slots=True)
class Rules:
    """What `[customers]` says of asking and of age. `max_age` is seconds, or None for never.

    `address_columns` are those whose first address a customer is logged by whom no address has found.
    """

    ignore_domains: frozenset[str] = frozenset()
    plus_addressing: bool = False
    max_age: float | None = None
    zone: tzinfo = UTC
    address_columns: tuple[str, ...] = ()
    gmail_dots: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What `[[app]]` says of its card: a template or else the built-in one, and what decides it besides addresses."""

    template: CardTemplate | None = None
    display: Display = field(default_factory=Display)
    vary: Vary = field(default_factory=Vary)
    subject: tuple[SubjectRule, ...] = ()


class _Query(NamedTuple):
    """What is looked up for one inquiry, and what its answer depends on besides the customers."""

    addresses: tuple[str, ...]
    truncated: bool  # there were more
    stale: bool  # the data is
    varied: tuple[str, ...]
    matches: tuple[SubjectMatch, ...] = ()  # what the subject names; then it is looked up, and no address


class SidebarApp:
    """One `[[app]]`: its protocol, its customers, its card."""

    def __init__(
        self,
        name: str,
        protocol: HelpDesk,
        cache: AnswerCache,
        *,
        clock: Callable[[], float],
        log_key: bytes,
        rules: Rules | None = None,
        card: Card | None = None,
        names_addresses: bool = False,
    ) -> None:
        """`clock` returns seconds since 1970; `log_key`, at most 64 bytes, keys the hash of customers in logs.

        `names_addresses` has every reply hold the address that it is about, for an audit trail that names it.
        """
        self.name: Final = name
        self.protocol: Final = protocol
        self._authenticate = protocol.authenticate
        self._parse = protocol.parse
        self._cache = cache
        self._clock = clock
        self._since = Since()
        self._hasher = hashlib.blake2b(key=log_key, digest_size=8)  # copied: half the price of a new one
        self._rules = rules or Rules()
        self._card = card or Card()
        self._subject_rules = self._card.subject
        self._names_addresses = names_addresses
        self._draft = self._finish(Outcome.DRAFT, builtin.draft())
        self._no_address = self._finish(Outcome.NO_ADDRESS, builtin.no_address())
        self._not_loaded = self._finish(Outcome.NOT_LOADED, builtin.not_loaded())
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

    def answer(self, request: SignedRequest) -> Reply:
        """Return the reply to one request. Raises nothing, whatever the bytes.

        The request is authenticated over its raw bytes before anything reads them.
        """
        if not self._authenticate(request):
            return BAD_SIGNATURE
        try:
            inquiry = self._parse(request)
        except InquiryError:
            return BAD_PAYLOAD
        cacheable = len(request.body) <= _MAX_CACHEABLE
        answer, cache = self._by_address(inquiry, cacheable=cacheable)
        if self._subject_rules and answer.outcome in _NOBODY:
            answer, cache = self._by_subject(inquiry, answer, cache, cacheable=cacheable)
        return Reply(
            response=answer.response,
            outcome=answer.outcome,
            cache=cache,
            conversation=inquiry.conversation,
            mailbox=inquiry.mailbox,
            agent=inquiry.agent,
            customer=answer.customer,
            address=answer.address,
            fault=answer.fault if cache != CacheState.HIT else "",  # said once, not for as long as it is cached
        )

    def _by_address(self, inquiry: Inquiry, *, cacheable: bool) -> tuple[CachedAnswer, CacheState | str]:
        """Return the answer for the addresses, and where it came from."""
        stale = self._is_stale()
        # The texts as they came decide the addresses, so they are the key: normal forms cost 1.5 us a request.
        key = (inquiry.addresses, inquiry.own_address, stale, inquiry.varied)
        if cacheable and (cached := self._cache.find(key)) is not None:
            return cached, CacheState.HIT
        addresses, truncated = addresses_of(inquiry, self._rules)
        if not addresses:
            return (self._draft if inquiry.is_draft else self._no_address), ""
        return self._look_up(_Query(addresses, truncated, stale, inquiry.varied), key if cacheable else None)

    def _by_subject(
        self, inquiry: Inquiry, nobody: CachedAnswer, cache: CacheState | str, *, cacheable: bool
    ) -> tuple[CachedAnswer, CacheState | str]:
        """Return the answer for what the subject names, or `nobody` if it names nothing."""
        matches = match_subject(inquiry.subject, self._subject_rules)
        if not matches:
            return nobody, cache
        query = _Query(*addresses_of(inquiry, self._rules), self._is_stale(), inquiry.varied, matches)
        if cacheable and (cached := self._cache.find(query)) is not None:
            return cached, CacheState.HIT
        return self._look_up(query, query if cacheable else None)

    def _look_up(self, query: _Query, key: Hashable | None) -> tuple[CachedAnswer, CacheState | str]:
        """Find the customers, make the answer of them, and keep it under `key`, unless that is None."""
        snapshot = self._snapshot
        if snapshot is None:
            return self._not_loaded, ""
        try:
            if query.matches:
                records = snapshot.find_by_keys([(match.column, match.key) for match in query.matches])
            else:
                records = snapshot.find(query.addresses)
            company = None if records else snapshot.find_company(query.addresses)
        except SnapshotError as error:  # treated as not loaded: nobody is called unknown by it
            first, self._told_of_damage = not self._told_of_damage, True
            return self._finish(Outcome.NOT_LOADED, builtin.not_loaded(), fault=str(error) if first else ""), ""
        answer = self._render(query, snapshot, records, company)
        if key is not None:
            self._cache.store(key, answer, found=bool(records))
        return answer, CacheState.MISS

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
        else:
            outcome, html = Outcome.NO_ADDRESS, builtin.no_address(named)
        if query.stale:
            now = self._clock()
            html += builtin.stale(self._since.at(snapshot.as_of, now), now, self._rules.zone)
        identity = next(iter(query.addresses), None)
        if query.matches and records:  # what the log knows a customer by whom the subject has named: not who writes
            identity = self._reader.read([values_of(records[0])]).main[0] or query.matches[0].key
        if company is not None:  # whose data is shown, as far as it is one customer's
            identity = self._reader.read([values_of(company.record)]).main[0] or company.domain
        return self._finish(outcome, html, identity, fault)

    def _render_records(
        self, query: _Query, snapshot: Snapshot, records: tuple[Record, ...]
    ) -> tuple[Outcome, str, str]:
        """Return the operator's card; if it fails on these customers, the built-in one and what is wrong."""
        fault = ""
        template, zone = self._card.template, self._rules.zone
        if template is not None:
            clock = self._clock()
            as_of = datetime.fromtimestamp(self._since.at(snapshot.as_of, clock), zone)
            now = datetime.fromtimestamp(clock, zone)
            parts = self._card.vary.parts(query.varied) if query.varied else None
            try:
                html = template.render(records[:MAX_FOUND], query.addresses, as_of, now, parts)
                return Outcome.FOUND, html, ""
            except TemplateError as error:
                fault = str(error)
        html = builtin.found(records, self._layout, query.truncated)
        return Outcome.CARD_FAULT if fault else Outcome.FOUND, html, fault

    def _finish(self, outcome: Outcome, html: str, identity: str | None = None, fault: str = "") -> CachedAnswer:
        response = self.protocol.render(Answer(outcome, html))
        if identity is None:
            return CachedAnswer(outcome, response, None, fault)
        return CachedAnswer(outcome, response, self._hash(identity), fault, identity if self._names_addresses else "")

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


_NOBODY: Final = (Outcome.UNKNOWN, Outcome.NO_ADDRESS, Outcome.COMPANY)


def addresses_of(inquiry: Inquiry, rules: Rules) -> tuple[tuple[str, ...], bool]:
    """Return the addresses to look up, in normal form, each once, the main one first; and whether there were more.

    The inbox's own address is left out, and so are those of domains to ignore.
    """
    texts = inquiry.addresses
    form = partial(_folded, rules) if rules.plus_addressing or rules.gmail_dots else normalise
    own = form(inquiry.own_address) if inquiry.own_address else None
    addresses: dict[str, None] = {}
    for text in texts[:_MAX_TEXTS]:
        address = form(text)
        if address is not None and address != own and domain_of(address) not in rules.ignore_domains:
            addresses[address] = None
    distinct = tuple(addresses)
    truncated = len(distinct) > MAX_ADDRESSES or len(texts) > _MAX_TEXTS
    return distinct[:MAX_ADDRESSES], truncated


def _folded(rules: Rules, text: str) -> str | None:
    address = normalise(text)
    return None if address is None else fold(address, plus=rules.plus_addressing, gmail_dots=rules.gmail_dots)
