"""The domains of a company, as a cell of the customers names them: "example.com", "https://www.Example.com/", "@a.org".

An address is not one: whoever writes from gmail.com is nobody's colleague, and a domain that was taken from an address
would make strangers of one provider a company. What is compared is the A-form in lower case, without a leading "www.";
example.com and mail.example.com are two domains.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.customers.address import domain_of, normalise
from appliance.ingest.public_mail import is_public_mail

MAX_DOMAINS: Final = 50
"""Domains of one cell: a bad one costs 40 us, and a cell may hold 60,000."""

_BETWEEN: Final = re.compile(r"[\s;,]+")
_NO_WIDTH: Final = "\u00ad\u200b\u2060\ufeff"
_URL: Final = re.compile(r"(?:(?:https?:)?//|@)?([^/?#@]+?)(?::[0-9]{1,5})?(?:[/?#].*)?", re.IGNORECASE)
_COMMON: Final = re.compile(r"(?!www\.)(?:[0-9a-z]{1,63}\.){1,3}[a-z]{2,63}")
_TOP: Final = re.compile(r"[^.]+\.(?:[^.]+\.)*(?!\d+\Z)[^.\[\]:]{2,}")


def read_domains(text: str) -> tuple[str, ...] | None:
    """Return the domains in a cell, without those of public mail; None if there is anything else in it."""
    if _COMMON.fullmatch(text):  # as in nearly all cells
        return () if is_public_mail(text) else (text,)
    words = [word for word in _BETWEEN.split(text) if word]
    if len(words) > MAX_DOMAINS:
        return None
    domains: dict[str, None] = {}
    for word in words:
        domain = _normal(word.strip(_NO_WIDTH))
        if domain is None:
            return None
        if not is_public_mail(domain):
            domains[domain] = None
    return tuple(domains)


def _normal(text: str) -> str | None:
    """Return the normal form of one domain, or None if `text` is not one. An address and an IP address are not."""
    url = _URL.fullmatch(text)
    address = normalise(f"x@{url[1]}") if url is not None else None
    if address is None:
        return None
    domain = domain_of(address)
    bare = domain.removeprefix("www.")
    domain = bare if "." in bare else domain
    return domain if _TOP.fullmatch(domain) else None
