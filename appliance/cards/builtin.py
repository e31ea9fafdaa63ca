"""The built-in cards, as HTML in Help Scout's legacy style guide.

Source of the classes: developer.helpscout.com/custom-apps/style-guide and apps in production. Each card that shows no
customer says why, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from html import escape

from appliance.cards.formatters import Context
from appliance.cards.helpers import toggle, two_line_item
from appliance.cards.layout import Layout, RelatedSection, Values
from appliance.cards.markup import MAX_CARD, anchor, href_of, html_of, mail_href_of, shorten
from appliance.customers.address import domain_of, normalise, readable
from appliance.customers.record import Record, Rows, related_of, values_of
from appliance.customers.snapshot import MAX_FOUND

Matches = Sequence[tuple[str, str]]
"""What a subject names: words for the column, such as "order number", and the value as it stands there."""


def found(records: Sequence[Record], layout: Layout, truncated: bool = False) -> str:
    """Return the card of every customer found, best first; `truncated` says that not every address was looked up.

    It ends, with a note, where it would have more than MAX_CARD characters.
    """
    note = []
    if len(records) > MAX_FOUND:
        note = [_muted(f"More than {MAX_FOUND} customers match; the first are shown.")]
        records = records[:MAX_FOUND]
    elif len(records) > 1:
        note = [_muted(f"{len(records)} customers match: ask which account this is about.")]
    cards: list[str] = []
    room = MAX_CARD
    for record in records:
        html, room = _customer(record, layout, room)
        cards.append(html)
        if room < 0:
            break
    end = [_muted("There is more than fits in a card: the rest is left out.")] if room < 0 else []
    return "".join([*note, '<div class="divider"></div>'.join(cards), *end, *_truncated_note(truncated)])


def found_by(matches: Matches) -> str:
    """Return the line above customers whom the subject has named, and no address."""
    what = " or ".join(f"{title} {value}" for title, value in matches)
    return (
        f'<p class="orange">Matched by {escape(what)} in the subject, not by email address.'
        " Check that the sender is this customer.</p>"
    )


def of_company(domain: str, members: int) -> str:
    """Return the line above what the customers of a company have in common, where no address is known."""
    shown = domain_of(readable(f"x@{domain}"))
    who = "One customer has" if members == 1 else f"{members:,} customers have"
    shared = "" if members == 1 else " Only what they all share is shown."
    return (
        f'<p class="orange">Matched by the company domain {escape(shown)}, not by email address.'
        f" This is the company, not the person. {who} this domain.{shared}</p>"
    )


def unknown(addresses: Sequence[str], truncated: bool = False, matches: Matches = ()) -> str:
    """Return the card for addresses that nobody has, and for what the subject names and nobody has either."""
    asked = "".join(f"<li>{_address(address)}</li>" for address in addresses)
    return "".join(
        [
            "<h4>Not a customer</h4>",
            "<p>Nobody in the customer list has ",
            "this address:</p>" if len(addresses) == 1 else "one of these addresses:</p>",
            f'<ul class="unstyled">{asked}</ul>',
            *_not_matched(matches),
            _muted("They may have signed up with another address: ask which one."),
            *_truncated_note(truncated),
        ]
    )


def no_address(matches: Matches = ()) -> str:
    """Return the card for a conversation whose customer has no usable address."""
    return _notice(
        "No e-mail address",
        "This customer has no e-mail address in Help Scout.",
        "Add one to the customer's profile, then open the conversation again.",
        matches,
    )


def draft() -> str:
    """Return the card for a draft that is not addressed to anybody yet."""
    return _notice(
        "New conversation",
        "This draft has no recipient yet.",
        "The customer shows here once the draft has one and is opened again.",
    )


def no_customer() -> str:
    """Return the card for a page of a conversation that has no customer."""
    return _notice(
        "No customer yet",
        "This conversation is not saved yet, or nobody is in it.",
        "The customer shows here once there is one and the conversation is opened again.",
    )


def unknown_id() -> str:
    """Return the card for a customer of whom only Help Scout's id is known."""
    return _notice(
        "Customer not known yet",
        "Help Scout has sent a number for this customer, and no email address is known for it here.",
        "If it stays so, ask the sidebard administrator, who can say which column of the customer list holds it.",
    )


def other_inbox() -> str:
    """Return the card for a page of an inbox that the app is not meant for."""
    return _notice(
        "Not for this inbox",
        "Customers are not shown in this inbox.",
        "If they should be, ask the sidebard administrator to add the inbox.",
    )


def not_loaded() -> str:
    """Return the card for the time before the customer list has been read."""
    return _notice(
        "Customer list not loaded",
        "The customer list cannot be read at the moment, so nothing is known about this person.",
        "Try again in a minute. If this persists, contact the sidebard administrator.",
    )


def stale(as_of: float, now: float, zone: tzinfo) -> str:
    """Return the line that says how old the data is; `as_of` and `now` are seconds since 1970."""
    read, today = datetime.fromtimestamp(as_of, zone), datetime.fromtimestamp(now, zone)
    days = (today.date() - read.date()).days
    at = f"at {read:%H:%M}"
    when = {0: f"today {at}", 1: f"yesterday {at}"}.get(days, f"on {read.day} {read:%B %Y} {at}, {days} days ago")
    return f'<p class="orange">This data is out of date: last updated {when}.</p>'


def _notice(heading: str, what: str, next_step: str, matches: Matches = ()) -> str:
    return "".join([f"<h4>{escape(heading)}</h4><p>{escape(what)}</p>", *_not_matched(matches), _muted(next_step)])


def _not_matched(matches: Matches) -> Iterable[str]:
    return [
        f"<p>{escape(f'No customer has {title} {value} (from the subject) either.')}</p>" for title, value in matches
    ]


def _muted(text: str) -> str:
    return f'<p class="muted">{escape(text)}</p>'


def _truncated_note(truncated: bool) -> Iterable[str]:
    return [_muted("This customer has more addresses than can be looked up; only the first were.")] if truncated else []


def _address(address: str) -> str:
    href = mail_href_of(address) if normalise(address) == address else None
    return html_of(address) if href is None else anchor(href, html_of(address))


# A customer


def _customer(record: Record, layout: Layout, room: int) -> tuple[str, int]:
    """Return one customer's part of the card and the characters left of `room`; below 0, something was left out."""
    values = values_of(record)
    context = _context(values, layout.currency, layout)
    heading = f"<h4>{_heading(values, layout)}</h4>"
    room -= len(heading)
    items: list[str] = []
    for field in layout.fields:
        if html := field.html(values, context):
            item = two_line_item(field.title, html)
            room -= len(item)
            if room < 0:
                break
            items.append(item)
    listed = f'<ul class="c-sb-list c-sb-list--two-line">{"".join(items)}</ul>' if items else ""
    groups: list[str] = []
    for group in layout.groups:
        if room >= 0 and (rows := related_of(record, group.name)):
            html, room = _group(rows, group, layout, room)
            groups.append(html)
    return "".join([heading, listed, *groups]), room


def _heading(values: Values, layout: Layout) -> str:
    html = html_of(shorten(layout.heading(values)))
    href = href_of(values[layout.url]) if layout.url is not None else None
    return html if href is None else anchor(href, html)


def _group(rows: Rows, group: RelatedSection, layout: Layout, room: int) -> tuple[str, int]:
    """Return a related table under a toggle: an item a row, its first value above, the others below it.

    And the characters left of `room`, as `_customer` does.
    """
    items: list[str] = []
    for row in rows:
        item = _row(values_of(row), group, layout, room)
        room -= len(item)
        items.append(item)
        if room < 0:
            break
    more = _muted(f"The first {len(items)} are shown.") if rows.total > len(items) else ""
    listed = f'<ul class="c-sb-list c-sb-list--two-line">{"".join(items)}</ul>{more}'
    return toggle(group.title, listed, count=rows.total), room


def _row(values: Values, group: RelatedSection, layout: Layout, room: int) -> str:
    """Return one related row as an item; one that would be longer than `room` ends just beyond it."""
    context = _context(values, group.currency, layout)
    label = ""
    badges: list[str] = []
    others: list[str] = []
    for field in group.fields:
        if html := field.html(values, context):
            room -= len(html)
            if not label:
                label = html
            elif field.is_badge:
                badges.append(html)
            else:
                others.append(f"{field.title} {html}")
            if room < 0:
                break
    return two_line_item(" ".join([label, *badges]), " · ".join(others))


def _context(values: Values, currency: int | None, layout: Layout) -> Context:
    return Context(layout.zone, values[currency].strip() if currency is not None else "")
