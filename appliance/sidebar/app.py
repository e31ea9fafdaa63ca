"""The core: from a request's body and signature to a finished answer.

No socket, no logger, no clock of its own. `serve`, `card`, `preview`, `replay` and the tests all call `answer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Final, NamedTuple

import msgspec

from appliance.cards import builtin
from appliance.cards.layout import Display, Layout
from appliance.cards.template import CardTemplate, TemplateFault
from appliance.cards.vary import Vary
from appliance.customers.address import domain_of, fold, normalise
from appliance.customers.address_reader import AddressReader
from appliance.customers.lookup import CacheState, Lookup, NotLoaded
from appliance.customers.record import Columns, Record, values_of
from appliance.customers.since import Since
from appliance.customers.snapshot import MAX_FOUND, Company, Snapshot, SnapshotFault
from appliance.outcomes import CARD_STATUS, CARD_TYPE, Outcome, Refusal, Reply
from appliance.sidebar.company import of_company
from appliance.sidebar.protocols.diagnosis import Diagnoser, Diagnosis
from appliance.sidebar.protocols.payload import BadPayload, Id, Payload, Ticket, parse
from appliance.sidebar.protocols.signature import Verifier
from appliance.sidebar.subject import Named, SubjectRule, named_in

MAX_ADDRESSES: Final = 50
_MAX_TEXTS: Final = 4 * MAX_ADDRESSES  # read at all: a bad domain costs 40 us, and 256 KiB hold thousands
CACHE_PLACE: Final = 4 * 1024
"""Bytes that an answer may have for one place in the cache: the default of 10,000 places is 40 MB."""

_MAX_DIGITS: Final = 18  # more would not fit the 64 bits of a JSON reader
_MAX_KEYED: Final = 4 * 1024  # larger messages are not cached: 10,000 of them would be 160 MB of keys and more
_encode: Final = msgspec.json.Encoder().encode


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The part of an answer that does not depend on who asked: what the caches hold."""

    outcome: Outcome
    body: bytes
    customer: str | None = None
    fault: str = ""
    address: str = ""


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


class _Question(NamedTuple):
    """What one message asks for, and what its answer depends on besides the customers."""

    addresses: tuple[str, ...]
    cut: bool  # there were more
    old: bool  # the data is
    varied: tuple[str, ...]
    named: tuple[Named, ...] = ()


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
        card: Card | None = None,
        diagnoser: Diagnoser | None = None,
        names_addresses: bool = False,
    ) -> None:
        """`clock` gives seconds since 1970; `log_key`, at most 64 bytes, keys the hash of customers in logs.

        `names_addresses` has every reply hold the address that it is about, for an access trail that names it.
        """
        self.name: Final = name
        self._verifier = verifier
        self._lookup = lookup
        self._clock = clock
        self._since = Since()
        self._hasher = hashlib.blake2b(key=log_key, digest_size=8)  # copied: half the price of a new one
        self._rules = rules or Rules()
        self._card = card or Card()
        self._varies = bool(self._card.vary.names)  # asked at every request, as is the next
        self._subject_rules = self._card.subject
        self._names_addresses = names_addresses
        self._diagnoser = diagnoser or Diagnoser((), {})
        self._refused: Callable[[bytes, bytes | None], None] = lambda body, signature: None
        self._told_of_damage = False
        self._layout = Layout(())
        self._reader = AddressReader((), Columns(()), fold_plus=False)

    def use(self, snapshot: Snapshot | None) -> None:
        """Answer from `snapshot` from now on; None: the data is not loaded."""
        self._told_of_damage = False
        if snapshot is not None:
            facts = snapshot.facts
            rules = self._rules
            self._layout = Layout(facts.columns, facts.relations, self._card.display, rules.zone)
            columns = Columns(facts.columns)
            self._reader = AddressReader(
                rules.address_columns, columns, fold_plus=rules.plus_addressing, gmail_dots=rules.gmail_dots
            )
        self._lookup.use(snapshot)

    def expire_cache(self) -> None:
        """Remove cached answers whose time is over. To be called now and then."""
        self._lookup.expire()

    def tell_refusals(self, to: Callable[[bytes, bytes | None], None]) -> None:
        """Call `to` with the body and signature of each refused request. It must take no time of its own."""
        self._refused = to

    def diagnose(self, body: bytes, signature: bytes | None) -> Diagnosis:
        """Say why a refused signature may be wrong: for the operator, never for the client."""
        return self._diagnoser.diagnose(body, signature)

    def answer(self, body: bytes, signature: bytes | None) -> Reply:
        """Give the answer to one POST: `body` as it came, `signature` the header's value or None.

        The signature is checked over the raw bytes before anything reads them. Raises nothing, whatever the bytes.
        """
        if not self._verifier.verify(body, signature):
            self._refused(body, signature)
            return Refusal.BAD_SIGNATURE.reply
        try:
            payload = parse(body)
        except BadPayload:
            return Refusal.BAD_PAYLOAD.reply
        keyed = len(body) <= _MAX_KEYED
        finished, cache = self._by_address(payload, keyed=keyed)
        if self._subject_rules and finished.outcome in _NOBODY:
            finished, cache = self._by_subject(payload, finished, cache, keyed=keyed)
        ticket, mailbox, user = payload.ticket, payload.mailbox, payload.user
        return Reply(
            CARD_STATUS,
            finished.outcome,
            finished.body,
            CARD_TYPE,
            (),
            False,
            cache,
            _number(ticket.id) if isinstance(ticket, Ticket) else None,
            _number(mailbox.id) if mailbox is not None else None,
            _number(user.id) if user is not None else None,
            finished.customer,
            finished.address,
            finished.fault if cache != CacheState.HIT else "",  # said once, not for as long as it is cached
        )

    def _by_address(self, payload: Payload, *, keyed: bool) -> tuple[Finished, CacheState | str]:
        """Give the answer to a message, and where it came from."""
        customer, mailbox = payload.customer, payload.mailbox
        if customer is None:
            return (_DRAFT if payload.is_draft else _NO_ADDRESS), ""
        old = self._is_old()
        varied = self._card.vary.values_of(payload) if self._varies else ()
        # The texts as they came decide the addresses, so they are the key: normal forms cost 1.5 us a request.
        own = mailbox.email if mailbox is not None else None
        key = (customer.email, customer.emails, own, old, varied) if keyed else None
        finished = self._lookup.cached(key)
        if finished is not None:
            return finished, CacheState.HIT
        addresses, cut = asked_for(payload, self._rules)
        if not addresses:
            return (_DRAFT if payload.is_draft else _NO_ADDRESS), ""
        question = _Question(addresses, cut, old, varied)
        return self._ask(key, question, lambda snapshot: snapshot.find(addresses))

    def _by_subject(
        self, payload: Payload, nobody: Finished, cache: CacheState | str, *, keyed: bool
    ) -> tuple[Finished, CacheState | str]:
        """Give the answer by what the subject names, if it names anything, in the place of `nobody`."""
        named = named_in(payload, self._subject_rules)
        if not named:
            return nobody, cache
        question = _Question(
            *asked_for(payload, self._rules), self._is_old(), self._card.vary.values_of(payload), named
        )
        key = question if keyed else None
        finished = self._lookup.cached(key)
        if finished is not None:
            return finished, CacheState.HIT
        keys = [(one.column, one.key) for one in named]
        return self._ask(key, question, lambda snapshot: snapshot.find_by_keys(keys))

    def _ask(
        self, key: Hashable, question: _Question, find: Callable[[Snapshot], tuple[Record, ...]]
    ) -> tuple[Finished, CacheState | str]:
        try:
            return self._lookup.answer(find, key, partial(self._build, question)), CacheState.MISS
        except NotLoaded:
            return _NOT_LOADED, ""
        except SnapshotFault as fault:  # as good as none: nobody is called unknown by it
            first, self._told_of_damage = not self._told_of_damage, True
            return msgspec.structs.replace(_NOT_LOADED, fault=str(fault) if first else ""), ""

    def _build(self, question: _Question, snapshot: Snapshot, records: tuple[Record, ...]) -> Finished:
        """Make the answer of what was found."""
        addresses, cut = question.addresses, question.cut
        named = [(one.title, one.value) for one in question.named] if question.named else ()
        fault = ""
        company: Company | None = None
        if records:
            outcome, html, fault = self._found(snapshot, records, question)
            if named:
                html = builtin.found_by(named) + html
        elif (company := snapshot.find_company(addresses)) is not None:
            outcome, html, fault = self._found(snapshot, (company.record,), question)
            outcome, html = of_company(company, outcome, html)
        elif addresses:
            outcome, html = Outcome.UNKNOWN, builtin.unknown(addresses, cut, named)
        else:
            outcome, html = Outcome.NO_ADDRESS, builtin.no_address(named)
        if question.old:
            now = self._clock()
            html += builtin.old(self._since.at(snapshot.facts.as_of, now), now, self._rules.zone)
        whom = self._named(records[0], question) if named and records else next(iter(addresses), None)
        if company is not None:  # whose data is shown, as far as it is one customer's
            whom = self._reader.read([values_of(company.record)]).main[0] or company.domain
        if whom is None:
            return _finish(outcome, html, None, fault)
        return _finish(outcome, html, self._hash(whom), fault, whom if self._names_addresses else "")

    def _named(self, record: Record, question: _Question) -> str:
        """Give what the log knows a customer by whom the subject has named: it is not whoever writes."""
        return self._reader.read([values_of(record)]).main[0] or question.named[0].key

    def _found(self, snapshot: Snapshot, records: tuple[Record, ...], question: _Question) -> tuple[Outcome, str, str]:
        """Give the operator's card; if it fails on these customers, the built-in one and what is wrong."""
        fault = ""
        template, zone = self._card.template, self._rules.zone
        if template is not None:
            clock = self._clock()
            as_of = datetime.fromtimestamp(self._since.at(snapshot.facts.as_of, clock), zone)
            now = datetime.fromtimestamp(clock, zone)
            parts = self._card.vary.parts(question.varied) if question.varied else None
            try:
                html = template.render(records[:MAX_FOUND], question.addresses, as_of, now, parts)
                return Outcome.FOUND, html, ""
            except TemplateFault as error:
                fault = str(error)
        return Outcome.CARD_FAULT if fault else Outcome.FOUND, builtin.found(records, self._layout, question.cut), fault

    def _is_old(self) -> bool:
        max_age, snapshot = self._rules.max_age, self._lookup.snapshot
        if max_age is None or snapshot is None:
            return False
        now = self._clock()
        return now - self._since.at(snapshot.facts.as_of, now) > max_age

    def _hash(self, address: str) -> str:
        hasher = self._hasher.copy()
        hasher.update(address.encode())
        return hasher.hexdigest()


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
    form = partial(_folded, rules) if rules.plus_addressing or rules.gmail_dots else normalise
    own = form(mailbox.email) if (mailbox := payload.mailbox) is not None and mailbox.email else None
    addresses: dict[str, None] = {}
    for text in texts[:_MAX_TEXTS]:
        address = form(text)
        if address is not None and address != own and domain_of(address) not in rules.ignore_domains:
            addresses[address] = None
    distinct = tuple(addresses)
    cut = len(distinct) > MAX_ADDRESSES or len(texts) > _MAX_TEXTS
    return distinct[:MAX_ADDRESSES], cut


def _folded(rules: Rules, text: str) -> str | None:
    address = normalise(text)
    return None if address is None else fold(address, plus=rules.plus_addressing, gmail_dots=rules.gmail_dots)


def _number(identifier: Id | None) -> int | None:
    """Give an id as its log line may hold it: Help Scout's are numbers, and any other text could be somebody's name."""
    if isinstance(identifier, str):
        try:
            return int(identifier) if len(identifier) <= _MAX_DIGITS else None
        except ValueError:
            return None
    return identifier if identifier is not None and abs(identifier) < 10**_MAX_DIGITS else None


def _finish(outcome: Outcome, html: str, customer: str | None = None, fault: str = "", address: str = "") -> Finished:
    return Finished(outcome, _encode({"html": html}), customer, fault, address)


def weigh(finished: Finished) -> int:
    """Return how many of the cache's places an answer takes: one, and one more for each CACHE_PLACE bytes."""
    return 1 + len(finished.body) // CACHE_PLACE


_NOBODY: Final = (Outcome.UNKNOWN, Outcome.NO_ADDRESS, Outcome.COMPANY)
_DRAFT: Final = _finish(Outcome.DRAFT, builtin.draft())
_NO_ADDRESS: Final = _finish(Outcome.NO_ADDRESS, builtin.no_address())
_NOT_LOADED: Final = _finish(Outcome.NOT_LOADED, builtin.not_loaded())
