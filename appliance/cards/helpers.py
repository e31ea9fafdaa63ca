"""What a template may call to write the style guide's markup: each gives Markup, and escapes what is not.

No helper fails on a value: what it cannot read it shows as it is. No inline style, no script, no class that the style
guide or apps in production do not use. docs/cards.md has them as a table, which the tests read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from appliance.cards import dates, values
from appliance.cards.formatters import badge_of, colour_of
from appliance.cards.markup import Markup, anchor, href_of, html_of, quote_url, to_text

COLOURS: Final = ("green", "red", "orange", "blue", "purple")


class HelperUsageError(Exception):
    """A helper is not called as it must be; the text says how, and holds no value."""


def badge(text: object, colour: str = "") -> Markup:
    """Return a badge; without a colour, that of the word: "active" is green, "past due" red."""
    shown = html_of(text)
    if not shown:
        return Markup()
    colour = colour or colour_of(to_text(text))
    return _markup(badge_of(shown, colour if colour in COLOURS else ""))


def link(url: object, text: object = "") -> Markup:
    """Return a link to an http or https URL or a mail address; of any other URL only the text."""
    shown = html_of(text) or html_of(url)
    href = href_of(to_text(url))
    return _markup(anchor(href, shown) if href is not None else shown)


def money(value: object, currency: str = "", digits: int = 2) -> Markup:
    """Return an amount, such as €1,234.50; a currency of letters comes behind it."""
    shown = values.money_text(to_text(value), currency, digits)
    return _markup(html_of(value if shown is None else shown))


def number(value: object) -> Markup:
    """Return a number with its digits in groups."""
    read = values.number_of(to_text(value))
    return _markup(html_of(value if read is None else values.number_text(read)))


class Clock:
    """The helpers that depend on the time and zone of one rendering."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now` returns the time of the rendering; it is asked only when it is needed, which takes 0.3 us."""
        self._now = now

    def date(self, value: object) -> Markup:
        """Return a day as 24 May 2019; of a time, the day in the zone of `now`."""
        moment = dates.parse_datetime(value, self._now().tzinfo or UTC)
        return _markup(html_of(value) if moment is None else dates.date_text(moment))

    def ago(self, value: object) -> Markup:
        """Return how long ago a day or time was, seen from `now`."""
        now = self._now()
        moment = dates.parse_datetime(value, now.tzinfo or UTC)
        return _markup(html_of(value) if moment is None else dates.ago_text(moment, now))


class Section:
    """What `{% apply section(…) %} … {% end %}` calls with the HTML between."""

    def __init__(self, title: str, *, is_open: bool, count: int | None) -> None:
        self._title = title
        self._is_open = is_open
        self._count = count

    def __call__(self, content: object) -> Markup:
        """Return the section around `content`."""
        # Bytes are what the template has made of the block, escaped where it must be; a value of a record is a str.
        inner = content.decode() if isinstance(content, bytes) else html_of(content)
        return _markup(toggle(self._title, inner, is_open=self._is_open, count=self._count))

    def __str__(self) -> str:
        raise HelperUsageError("a section stands around HTML: {% apply section(...) %} ... {% end %}")


def section(title: object, open: bool = False, count: int | None = None) -> Section:  # noqa: A002  # reads best
    """Return a part of the card that folds up under its title; `count` is shown behind it."""
    return Section(html_of(title), is_open=open, count=count)


def toggle(title: str, inner: str, *, is_open: bool = False, count: int | None = None) -> str:
    """Return a part that folds up, of HTML. The help desk keeps for each agent whether it is open (is-persisted)."""
    return (
        f'<div class="c-sb-section c-sb-section--toggle is-persisted{" open" if is_open else ""}">'
        f'<div class="c-sb-section__title js-sb-toggle">{title}{"" if count is None else f" ({count})"}'
        f' <i class="caret sb-caret"></i></div><div class="c-sb-section__body">{inner}</div></div>'
    )


def two_line_list(pairs: Iterable[object]) -> Markup:
    """Return a list of labels, each with its text below it; pairs without a text are left out."""
    items = "".join(two_line_item(label, text) for label, text in _pairs(pairs, "two_line_list") if text)
    return _markup(f'<ul class="c-sb-list c-sb-list--two-line">{items}</ul>' if items else "")


def two_line_item(label: str, text: str) -> str:
    """Return one item of a two-line list, of HTML; the text may be empty."""
    below = f'<span class="c-sb-list-item__text">{text}</span>' if text else ""
    return f'<li class="c-sb-list-item"><span class="c-sb-list-item__label">{label}{below}</span></li>'


def timeline(pairs: Iterable[object]) -> Markup:
    """Return a list of what happened: a text, and below it, smaller, when or whatever else."""
    items = "".join(
        f'<li class="c-sb-timeline-item"><span class="c-sb-timeline-item__text">{text}'
        f"{_SECOND_LINE.format(detail) if detail else ''}</span></li>"
        for text, detail in _pairs(pairs, "timeline")
        if text
    )
    return _markup(f'<ul class="c-sb-timeline c-sb-timeline--list">{items}</ul>' if items else "")


_SECOND_LINE: Final = '<br><span class="c-sb-list-item__text__secondary">{}</span>'


def copyable(text: object) -> Markup:
    """Return a text in a paragraph of its own: a triple click selects it, and nothing else."""
    shown = html_of(text).strip()
    return _markup(f'<p class="noMargin">{shown}</p>' if shown else "")


def url_escape(text: object) -> str:
    """Return a text as it may stand in the path or query of a URL."""
    return quote_url(to_text(text))


HELPERS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        "badge": badge,
        "link": link,
        "money": money,
        "number": number,
        "section": section,
        "two_line_list": two_line_list,
        "timeline": timeline,
        "copyable": copyable,
        "url_escape": url_escape,
    }
)


def _markup(html: str) -> Markup:
    return Markup(html.encode("utf-8", "replace"))


def _pairs(pairs: Iterable[object], helper: str) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise HelperUsageError(f'{helper} takes a list of pairs: {helper}([("Label", text), ("Label", text)])')
        first, second = pair
        yield html_of(first), html_of(second)
