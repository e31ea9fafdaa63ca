"""The cards that an agent sees, as HTML in Help Scout's legacy style guide.

Source of the classes: developer.helpscout.com/custom-apps/style-guide and apps in production. Help Scout strips inline
style, script and unknown markup; FreeScout strips nothing, so every value is escaped here and links go nowhere but to
http, https and mailto.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from html import escape
from typing import Final

from appliance.customers.address import normalise
from appliance.customers.record import Record, fields_of
from appliance.customers.snapshot import MAX_FOUND

# The first of these columns that holds something is the heading.
HEADINGS: Final = ("name", "full name", "customer name", "customer", "company", "company name")
HEADING_PARTS: Final = (("first name", "last name"), ("firstname", "lastname"), ("fname", "lname"))

_WEB: Final = re.compile(r"https?://[^\s\x00-\x20\x7f\"'<>\\^`{|}]+", re.IGNORECASE)


def found(records: Sequence[Record], cut: bool = False) -> str:
    """Give the card of every customer found, best first; `cut` says that not every address was looked up."""
    note = [_muted(f"{len(records)} customers have these addresses.")] if len(records) > 1 else []
    if len(records) > MAX_FOUND:
        records = records[:MAX_FOUND]
        note = [_muted(f"More than {MAX_FOUND} customers have these addresses; the first are shown.")]
    return "".join([*note, '<div class="divider"></div>'.join(map(_customer, records)), *_cut_note(cut)])


def unknown(addresses: Sequence[str], cut: bool = False) -> str:
    """Give the card for addresses that nobody has."""
    asked = "".join(f"<li>{_value(address)}</li>" for address in addresses)
    return "".join(
        [
            "<h4>Not a customer</h4>",
            "<p>Nobody in the customer list has ",
            "this address:</p>" if len(addresses) == 1 else "one of these addresses:</p>",
            f'<ul class="unstyled">{asked}</ul>',
            _muted("They may have signed up with another address: ask which one."),
            *_cut_note(cut),
        ]
    )


def no_address() -> str:
    """Give the card for a conversation whose customer has no usable address."""
    return _notice(
        "No e-mail address",
        "This customer has no e-mail address in Help Scout.",
        "Add one to the customer's profile, then open the conversation again.",
    )


def draft() -> str:
    """Give the card for a draft that is not addressed to anybody yet."""
    return _notice(
        "New conversation",
        "This draft has no recipient yet.",
        "The customer shows here once the draft has one and is opened again.",
    )


def not_loaded() -> str:
    """Give the card for the time before the customer list has been read."""
    return _notice(
        "Customer list not loaded",
        "The customer list cannot be read at the moment, so nothing is known about this person.",
        "Try again in a minute. If this stays, tell whoever runs sidebard.",
    )


def old(as_of: float, now: float, zone: tzinfo) -> str:
    """Give the line that says how old the data is; `as_of` and `now` are seconds since 1970."""
    read, today = datetime.fromtimestamp(as_of, zone), datetime.fromtimestamp(now, zone)
    days = (today.date() - read.date()).days
    day = {0: "today", 1: "yesterday"}.get(days, f"on {read.day} {read:%B %Y}, {days} days ago")
    return f'<p class="orange">This is old: as of {read:%H:%M} {day}.</p>'


def _notice(heading: str, what: str, next_step: str) -> str:
    return f"<h4>{escape(heading)}</h4><p>{escape(what)}</p>{_muted(next_step)}"


def _muted(text: str) -> str:
    return f'<p class="muted">{escape(text)}</p>'


def _cut_note(cut: bool) -> Iterable[str]:
    return [_muted("This customer has more addresses than can be looked up; only the first were.")] if cut else []


def _customer(record: Record) -> str:
    fields = list(fields_of(record))
    rows = "".join(
        '<li class="c-sb-list-item"><span class="c-sb-list-item__label">'
        f'{escape(name)}<span class="c-sb-list-item__text">{_value(value)}</span></span></li>'
        for name, value in fields
    )
    return f'<h4>{escape(heading(fields))}</h4><ul class="c-sb-list c-sb-list--two-line">{rows}</ul>'


def heading(fields: Sequence[tuple[str, str]]) -> str:
    """Give the name of a customer with these columns and values."""
    values = {name.casefold().replace("_", " "): value.strip() for name, value in fields}
    for name in HEADINGS:
        if values.get(name):
            return values[name]
    for parts in HEADING_PARTS:
        whole = " ".join(filter(None, (values.get(part) for part in parts)))
        if whole:
            return whole
    return next(filter(None, values.values()), "Customer")


def _value(value: str) -> str:
    """Give a cell as HTML: a link where it is one, a dash where it is empty, text otherwise."""
    text = value.strip()
    if not text:
        return '<span class="muted">–</span>'
    if _WEB.fullmatch(text):
        return f'<a href="{escape(text)}" target="_blank">{escape(text)}</a>'
    if "@" in text and normalise(text) is not None and text.isascii():
        return f'<a href="mailto:{escape(_mailto(text))}">{escape(text)}</a>'
    return escape(text)


def _mailto(address: str) -> str:
    # "?" begins header fields and "%" an escape (RFC 6068, 2): an address must not add a Bcc to an agent's mail.
    return address.replace("%", "%25").replace("?", "%3F").replace("&", "%26").replace("#", "%23")
