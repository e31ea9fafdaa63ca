"""HTML that holds nothing but what is meant: escaping that happens once, and where a link may lead.

One help desk strips script and unknown markup from a card, another strips nothing. So nothing else may reach either.
"""

from __future__ import annotations

import re
from html import escape as _escape
from typing import Final
from urllib.parse import quote

from appliance.customers.address import normalise, normalise_domain

# A browser takes "/../" for the folder above, however it is spelled (RFC 3986, 5.2.4), so an id of ".." in the middle
# of a link would lead elsewhere than the operator has written.
_WEB: Final = re.compile(r"https?://(?![^?#]*/(\.|%2e){1,2}([/?#]|$))[^\s\x00-\x20\x7f\"'<>\\^`{|}]+", re.IGNORECASE)


MAX_TEXT: Final = 2000
"""Characters of one cell that the built-in card shows, and of a URL that a link may have."""

MAX_CARD: Final = 256 * 1024
"""Characters of a card's HTML. Long cells in many rows once made one of 258 MB, which took 3.5 s."""


# As people type and programs join them: spaces, quotes and letters of any alphabet behind the host. What has another
# URL in it is two.
_WEB_PARTS: Final = re.compile(
    r"(?P<scheme>https?://)(?P<host>[^\s/?#:@\\]+)(?P<port>:[0-9]{1,5})?(?P<rest>(?:[/?#](?:(?!://)[^\x00-\x1f\x7f\ud800-\udfff])*)?)",
    re.IGNORECASE,
)
_NO_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


class Markup(bytes):
    """HTML in which everything that was not meant as such is escaped already. Joined with text, it escapes the text."""

    def __add__(self, other: object) -> Markup:
        return Markup(bytes.__add__(self, html_of(other).encode()))

    def __radd__(self, other: object) -> Markup:
        return Markup(html_of(other).encode() + bytes(self))


def html_of(value: object) -> str:
    """Return a value as HTML: Markup as it is, None as nothing, anything else as text."""
    if not isinstance(value, str):  # most are
        if isinstance(value, Markup):
            return value.decode()
        value = to_text(value)
    # Most texts have none of these. Asked for one by one they are found faster than by a regular expression, and a text
    # of 100 characters takes a third of the time.
    if "&" in value or "<" in value or ">" in value or '"' in value or "'" in value:
        return _escape(value)
    return value


def to_text(value: object) -> str:
    """Return a value as text: None as none at all."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def shorten(text: str) -> str:
    """Return a text of at most MAX_TEXT characters, with "…" where the rest of a longer one was."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def href_of(url: str) -> str | None:
    """Return where a link may lead: an http or https URL, or mailto with one address and nothing else. None: nowhere.

    A URL of more than MAX_TEXT characters leads nowhere: browsers and servers stop taking them at about that length.
    """
    url = url.strip()
    if len(url) > MAX_TEXT:
        return None
    if _WEB.fullmatch(url) and url.isascii():
        return url
    if parts := _WEB_PARTS.fullmatch(url):
        return _encoded(parts)
    address = url[7:] if url[:7].lower() == "mailto:" else url
    return mail_href_of(address) if "@" in address and normalise(address) is not None else None


def mail_href_of(address: str) -> str | None:
    """Return the link to an address, be it in normal form or not yet; None if it is not in ASCII."""
    # "?" begins header fields and "%" an escape (RFC 6068, 2): an address must not add a Bcc to an agent's mail.
    return f"mailto:{quote(address, safe='@+=/')}" if address.isascii() else None


def _encoded(parts: re.Match[str]) -> str | None:
    """Return a URL in ASCII: the host in its A-form, the rest percent-encoded (RFC 3986, 2.1) where it has to be."""
    host = normalise_domain(parts["host"])
    rest = quote(_NO_ESCAPE.sub("%25", parts["rest"]), safe="!#$%&()*+,/:;=?@[]~", errors="replace")
    url = f"{parts['scheme']}{host}{parts['port'] or ''}{rest}"
    return url if url.isascii() and _WEB.fullmatch(url) and len(url) <= MAX_TEXT else None


def quote_url(text: str) -> str:
    """Return a text as it may stand in the path or query of a URL, where none of it ends its part."""
    return quote(text, safe="@", errors="replace")


def anchor(href: str, text: str) -> str:
    """Return a link to what `href_of` gave; `text` is HTML. A web page opens beside the help desk, not in its place."""
    target = "" if href.startswith("mailto:") else ' target="_blank"'
    return f'<a href="{_escape(href)}"{target}>{text}</a>'
