"""How the built-in card shows a header's columns: decided once for a snapshot, so that a card only fills it in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from appliance.cards import formatters
from appliance.cards.formatters import Context, Formatter, words_of
from appliance.cards.markup import MAX_TEXT, anchor, href_of, html_of, quote_url, shorten
from appliance.config.schema import Display
from appliance.customers.column_name import name_key
from appliance.customers.keys import split
from appliance.customers.record import Columns
from appliance.customers.snapshot import Relation

# The first of these that holds something is the heading: one of NAMES, a given and a family name, one of OTHER_NAMES.
NAMES: Final = ("name", "full name", "fullname", "customer name", "customer", "display name", "contact name", "contact")
GIVEN_NAMES: Final = ("first name", "firstname", "fname", "given name", "forename", "first")
FAMILY_NAMES: Final = ("last name", "lastname", "lname", "family name", "surname", "last")
OTHER_NAMES: Final = (
    "company",
    "company name",
    "organization",
    "organisation",
    "account name",
    "username",
    "user name",
)
_QUALIFIED: Final = re.compile(r"(?:billing|contact|client|account|user|member|subscriber|shipping) (?=.*name$)")
"""Words before a person's name, as in WooCommerce's "Billing First Name"."""
ACRONYMS: Final = frozenset({"id", "url", "ltv", "mrr", "arr", "vat", "api", "sku", "crm", "ip"})
PLACE: Final = re.compile(r"\{([^{}]+)\}")

Values = Sequence[str]


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its title as HTML, and how a value of it, stripped and not empty, becomes HTML."""

    position: int
    title: str
    formatters: tuple[Formatter, ...]
    link: Callable[[Values], str | None] | None

    @property
    def is_badge(self) -> bool:
        """Whether it holds words of a status."""
        return formatters.badge in self.formatters

    def html(self, values: Values, context: Context) -> str:
        """Return the value of a row as HTML, "" if it is empty; of a long one, its first MAX_TEXT characters."""
        text = values[self.position].strip()
        if not text:
            return ""
        if len(text) > MAX_TEXT:  # as text: the first part of a URL leads elsewhere
            return html_of(shorten(text))
        if self.link is not None and (href := self.link(values)) is not None:
            return anchor(href, html_of(text))
        return formatters.show(text, self.formatters, context)


@dataclass(frozen=True, slots=True)
class RelatedSection:
    """A related table: its title as HTML, and the columns of its rows that are shown."""

    name: str
    title: str
    fields: tuple[Field, ...]
    currency: int | None


class Layout:
    """The built-in card of one header."""

    def __init__(
        self,
        names: Sequence[str],
        relations: Sequence[Relation] = (),
        display: Display | None = None,
        zone: tzinfo = UTC,
    ) -> None:
        """`names` are the customers' columns, `relations` their related tables. What does not exist is left out."""
        self.zone: Final = zone
        self._display = display = display or Display()
        self._tables = {relation.name: Columns(relation.columns) for relation in relations}
        columns = Columns(names)
        words = {words_of(name): position for position, name in enumerate(names)}
        self._headings = _headings(words)
        self.url: Final = columns.find_index(display.url_column)
        self.currency: Final = _currency(names)
        wanted = [self._split(name) for name in display.columns]
        keys = {relation.name: relation.key for relation in relations}
        if display.columns:
            shown = [column for table, column in wanted if not table]
            tables = list(dict.fromkeys(table for table, _ in wanted if table))
        else:
            hidden = {position for row in self._headings[:1] for position in row} | {self.url, self.currency}
            shown = [name for position, name in enumerate(names) if position not in hidden]
            tables = list(self._tables)
        self.fields: Final = self._fields("", columns, shown)
        self.groups: Final = tuple(
            self._group(table, [column for of, column in wanted if of == table and column], keys[table])
            for table in tables
        )

    def heading(self, values: Values) -> str:
        """Return what a row is called: the name in it, or else the first value that it has."""
        for places in self._headings:
            if heading := " ".join(filter(None, (values[place].strip() for place in places))):
                return heading
        return next(filter(None, map(str.strip, values)), "Customer")

    def _split(self, name: str) -> tuple[str, str]:
        """Return the table and column that a name means; the column is "" where the name is that of a table."""
        table, column = split(name, self._tables)
        whole, _ = split(f"{name}.", self._tables)
        return (whole, "") if whole and not table else (table, column)

    def _group(self, table: str, wanted: list[str], key: str) -> RelatedSection:
        columns = self._tables[table]
        currency = _currency(columns.names)
        hidden = (columns.find_index(key), None if wanted else currency)
        shown = wanted or [name for position, name in enumerate(columns.names) if position not in hidden]
        title = title_of(table, "", self._display.titles)
        return RelatedSection(table, html_of(title), self._fields(table, columns, shown), currency)

    def _fields(self, table: str, columns: Columns, names: Sequence[str]) -> tuple[Field, ...]:
        links = {split(name, self._tables): pattern for name, pattern in self._display.links}
        by_column = {(of, name_key(name)): pattern for (of, name), pattern in links.items()}
        fields = []
        for name in names:
            position = columns.find_index(name)
            if position is None:
                continue
            spelled = columns.names[position]
            pattern = by_column.get((table, name_key(spelled)))
            link = None if pattern is None else _link(pattern, columns)
            title = title_of(table, spelled, self._display.titles)
            fields.append(Field(position, html_of(title), formatters.formatters_of(spelled), link))
        return tuple(fields)


def title_of(table: str, column: str, titles: Sequence[tuple[str, str]]) -> str:
    """Return the words for a column, or for a table ("" is no column): those of the operator, or its own name."""
    name = name_key(f"{table}.{column}".strip("."))
    for given, title in titles:
        if name_key(given) == name:
            return title
    own = column or table
    if own != own.lower():
        return own
    words = [word.upper() if word in ACRONYMS else word for word in words_of(own).split()]
    title = " ".join(words) or own
    return title[:1].upper() + title[1:]


def _headings(words: dict[str, int]) -> tuple[tuple[int, ...], ...]:
    """Return the places of what may be the heading, best first: a person's name, or the parts of one; a company's."""
    rows = _names(words)
    prefixes = dict.fromkeys(match[0] for name in words if (match := _QUALIFIED.match(name)))
    for prefix in prefixes:
        rows += _names({name.removeprefix(prefix): at for name, at in words.items() if name.startswith(prefix)})
    return (*rows, *((words[name],) for name in OTHER_NAMES if name in words))


def _names(words: dict[str, int]) -> list[tuple[int, ...]]:
    whole: list[tuple[int, ...]] = [(words[name],) for name in NAMES if name in words]
    parts = [next((words[name] for name in some if name in words), None) for some in (GIVEN_NAMES, FAMILY_NAMES)]
    both = tuple(place for place in parts if place is not None)
    return [*whole, both] if both else whole


def _currency(names: Sequence[str]) -> int | None:
    """Return the place of the column that names the currency of others, if there are any amounts."""
    if not any(formatters.money in formatters.formatters_of(name) for name in names):
        return None
    return next((place for place, name in enumerate(names) if words_of(name) in formatters.CURRENCY), None)


def _link(pattern: str, columns: Columns) -> Callable[[Values], str | None] | None:
    """Return what makes a row's URL of a pattern with {column}s in it; it gives None where one of them is empty."""
    pieces = PLACE.split(pattern)  # text and names by turns
    places = [columns.find_index(name) for name in pieces[1::2]]
    if None in places:
        return None

    def url_of(values: Values) -> str | None:
        texts = [values[place].strip() for place in places if place is not None]
        if not all(texts) or any(len(text) > MAX_TEXT for text in texts):
            return None
        quoted = map(quote_url, texts)
        return href_of("".join(text for pair in zip(pieces[::2], [*quoted, ""], strict=True) for text in pair))

    return url_of
