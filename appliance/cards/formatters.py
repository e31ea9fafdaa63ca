"""How the built-in card shows a value, by the name of its column and by the value itself: two tables of formatters.

The first formatter that accepts a value shows it. One that is not sure declines: a wrong date or amount is worse than
the text as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from appliance.cards import dates, values
from appliance.cards.markup import anchor, href_of, html_of
from appliance.customers.address_cell import read_cell

STATUS_WORDS: Final = (
    ("", "inactive not no cancelled canceled expired closed disabled ended archived"),
    ("red", "past overdue unpaid failed failing blocked banned suspended fraud rejected invalid delinquent churned"),
    ("orange", "due pending expiring unverified refunded partial partially incomplete waiting paused hold warning"),
    ("blue", "trial trialing trialling new open processing shipped draft invited onboarding"),
    ("green", "active paid ok current complete completed delivered fulfilled approved verified enabled live healthy"),
    ("purple", "vip enterprise gold platinum premium"),
)
"""Colours of badges, and the words that ask for each; of several words in one status the first row decides."""

_RANKS: Final = {word: rank for rank, (_, words) in enumerate(STATUS_WORDS) for word in words.split()}
_WORD: Final = re.compile(r"[a-z]+")
_MAX_BADGE: Final = 30


class Context(NamedTuple):
    """What else decides how the values of one record are shown."""

    zone: tzinfo
    currency: str = ""  # of this record, by its column of that name


Formatter = Callable[[str, Context], str | None]
"""Returns a value as HTML, or None to decline. The value is stripped and not empty."""


@lru_cache(256)  # statuses are few, and stand in every row
def colour_of(text: str) -> str:
    """Return the colour of a badge that says `text`, or "" for grey."""
    ranks = [_RANKS[word] for word in _WORD.findall(text.lower()) if word in _RANKS]
    return STATUS_WORDS[min(ranks)][0] if ranks else ""


def badge_of(html: str, colour: str) -> str:
    """Return a badge; "" is grey."""
    return f'<span class="badge {colour}">{html}</span>' if colour else f'<span class="badge">{html}</span>'


def web(text: str, _: Context) -> str | None:
    """Return a web page as a link."""
    if text[:4].lower() != "http":
        return None
    href = href_of(text)
    return None if href is None else anchor(href, html_of(text))


def mail(text: str, _: Context) -> str | None:
    """Return one address or several as links."""
    if "@" not in text:
        return None
    if (href := href_of(text)) is not None:
        return anchor(href, html_of(text))
    addresses, understood = read_cell(text)
    if not understood or not addresses:
        return None
    if len(addresses) == 1:
        href = href_of(addresses[0])
        return None if href is None else anchor(href, html_of(text))
    hrefs = [(href_of(one), html_of(one)) for one in addresses]
    return ", ".join(html if href is None else anchor(href, html) for href, html in hrefs)


def iso_date(text: str, context: Context) -> str | None:
    """Return what can only be a date, whatever its column is called."""
    if text[4:5] != "-":
        return None
    moment = dates.iso_moment(text, context.zone)
    return None if moment is None else dates.date_text(moment)


def named_date(text: str, context: Context) -> str | None:
    """Return what is a date because its column says so."""
    moment = dates.parse_datetime(text, context.zone)
    return None if moment is None else dates.date_text(moment)


def yes_no(text: str, _: Context) -> str | None:
    """Return true and false in words."""
    return _WORDS.get(text.lower()) if len(text) <= 5 else None


def named_yes_no(text: str, _: Context) -> str | None:
    """Return what is true or false because its column says so."""
    return _LETTERS.get(text.lower())


def badge(text: str, _: Context) -> str | None:
    """Return a word of a status as a badge."""
    if len(text) > _MAX_BADGE or "\n" in text:
        return None
    return badge_of(html_of(text), colour_of(text))


def money(text: str, context: Context) -> str | None:
    """Return an amount, in the currency of the record if it has one."""
    amount = values.money_text(text, context.currency)
    return None if amount is None else html_of(amount)


def count(text: str, _: Context) -> str | None:
    """Return a number of things."""
    number = values.number_of(text)
    return None if number is None else values.number_text(number)


def lines(text: str, _: Context) -> str | None:
    """Return a text of several lines."""
    return "<br>".join(map(html_of, text.splitlines())) if "\n" in text or "\r" in text else None


_WORDS: Final = {"true": "Yes", "yes": "Yes", "false": "No", "no": "No"}
_LETTERS: Final = {"1": "Yes", "y": "Yes", "t": "Yes", "0": "No", "n": "No", "f": "No"}

# What a value can be whatever its column is called; and what any of them begins with or holds, so that plain text,
# which most is, is looked at once.
BY_VALUE: Final[tuple[Formatter, ...]] = (web, mail, iso_date, yes_no, lines)
_NOT_PLAIN: Final = re.compile(r"https?:|[0-9]{4}-[0-9]{2}-|(?:true|false|yes|no)$|[^@\r\n]*[@\r\n]", re.IGNORECASE)
# By the name of a column, in lower case and with spaces between its words; the formatter may still decline.
BY_NAME: Final[tuple[tuple[str, Formatter], ...]] = (
    (r"\b(is|has|can|active|enabled|verified|confirmed|subscribed|newsletter|vip|opt(ed)? ?in|blocked|beta)\b",
     named_yes_no),
    (r"\b(status|state|plan|tier|subscription|membership|package|edition|level|health|vip)\b", badge),
    (r"\b(date|day|at|on|since|until|created|updated|joined|registered|renews?|renewal|expires?|expiry|ends?|starts?"
     r"|birthday|last (seen|login|visit|contact|payment)|first (seen|order|payment))\b", named_date),
    (r"\b(count|number of|orders|items|quantity|qty|users|seats|visits|logins|points|downloads|activations)\b", count),
    (r"\b(balance|ltv|lifetime value|mrr|arr|revenue|turnover|amount|total|subtotal|price|cost|spen[dt]|fee|credit"
     r"|due|owed|refund(ed)?|paid|value)\b", money),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(pattern), show) for pattern, show in BY_NAME)
CURRENCY: Final = frozenset({"currency", "currency code"})
"""Columns that name the currency of a record's amounts."""


def words_of(column: str) -> str:
    """Return a column's name in lower case, with spaces between its words: camelCase and snake_case have none."""
    return re.sub(r"[^\w]+|_+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", column)).strip().lower()


def formatters_of(column: str) -> tuple[Formatter, ...]:
    """Return the formatters that a column of this name may hold besides those of BY_VALUE, in the order of trying."""
    words = words_of(column)
    return tuple(show for pattern, show in _COMPILED if pattern.search(words))


def show(text: str, formatters: tuple[Formatter, ...], context: Context) -> str:
    """Return a value, stripped and not empty, as HTML: by BY_VALUE, or else by its column's formatters, or as text."""
    if _NOT_PLAIN.match(text):
        formatters = BY_VALUE + formatters
    for formatter in formatters:
        html = formatter(text, context)
        if html is not None:
            return html
    return html_of(text)
