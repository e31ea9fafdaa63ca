"""The normal form in which email addresses are stored, looked up and compared.

Local part: NFC and lower case, with no compatibility folding and no casefold, so that straße@ is not strasse@; a
dot-atom (RFC 5322, 3.2.3, with the letters of RFC 6531), or a quoted string without spaces. Domain: its A-form by
UTS 46, non-transitional (RFC 5891), so that EXÄMPLE.com and xn--exmple-cua.com meet. Characters of no width, which
copying from web pages leaves behind, are dropped, and so is "mailto:" or "smtp:" before the address. Two addresses with
one normal form are one person's.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

import idna

MAX_LENGTH: Final = 320  # RFC 5321, 4.5.3.1: 64 for the local part, 255 for the domain, one @
_MAX_DOMAIN: Final = 255
PLAIN: Final = r"(?!\.)[!#-'*+\--9=?A-Z^-~]+(?<!\.)@(?![.-])[0-9A-Za-z.-]+(?<![.-])"
"""A pattern of addresses whose normal form is their lower case, unless `is_odd` or longer than MAX_LENGTH."""

# Texts that are normal forms as they stand. Going back costs 5 us at most. Possessive quantifiers, which would not, are
# wrong in Python 3.11.2 (python/cpython#106052): now and then such a pattern matched "ada.@example.com".
_NORMAL: Final = re.compile(r"[!#-'*+\-/-9=?^-~]+(?:\.[!#-'*+\-/-9=?^-~]+)*@[0-9a-z]+(?:(?:\.|-+)[0-9a-z]+)*")
_PLAIN: Final = re.compile(PLAIN)
_SCHEME: Final = re.compile(r"(mailto|smtp):(?://)?\s*", re.IGNORECASE)  # of links, and of Exchange's lists
_DOT_ATOM: Final = re.compile(r"(?![.])(?!.*[.][.])[!#-'*+\-/-9=?^-~\x80-\U0010ffff.]+(?<![.])")
_QUOTED: Final = re.compile(r'"[^"\\]+"')
_DOMAIN: Final = re.compile(r"(?:[0-9a-z_]+(?:-+[0-9a-z_]+)*\.)*[0-9a-z_]+(?:-+[0-9a-z_]+)*|\[[0-9a-z.:]+\]")
# U+FFFD replaces bytes that were not valid text, so two different addresses may have become equal.
_UNSAFE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_JOINERS: Final = (0x200C, 0x200D)
_NO_WIDTH: Final = dict.fromkeys(
    [
        *(0x00AD, 0x061C, 0x180E, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2065),
        *range(0x2066, 0x2070),
    ]
)
_NO_WIDTH_BUT_JOINERS: Final = {code: None for code in _NO_WIDTH if code not in _JOINERS}


def normalise(text: str) -> str | None:
    """Return the normal form of one address, or None if `text` is not one. Raises nothing."""
    if len(text) <= MAX_LENGTH and _NORMAL.fullmatch(text):
        return text  # as nearly every one already is: 0.2 us, two a request
    if len(text) > 4 * MAX_LENGTH:
        return None
    text = text.strip()
    if _PLAIN.fullmatch(text) and not is_odd(text):  # what follows would change nothing but the case
        return text.lower() if len(text) <= MAX_LENGTH else None
    text = _without_scheme(unicodedata.normalize("NFC", text.translate(_NO_WIDTH_BUT_JOINERS).strip()))
    local, at, domain = text.rpartition("@")
    domain = _a_form(domain) or ""
    local = local.translate(_NO_WIDTH)
    # A sigma is written as the last of its word by lower() and by people, but not by the same rule.
    local = unicodedata.normalize("NFC", local.lower()).replace("ς", "σ")
    if _QUOTED.fullmatch(local) and _DOT_ATOM.fullmatch(local[1:-1]):
        local = local[1:-1]  # quotes that change nothing (RFC 5322, 3.2.4)
    # Checked now and not before: NFC and UTS 46 map more than one character to what must not be there.
    if _UNSAFE.search(local) or not (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local)):
        return None
    if not _DOMAIN.fullmatch(domain):
        return None
    address = local + at + domain
    return address if len(address) <= MAX_LENGTH else None


def is_odd(text: str) -> bool:
    """Return whether dots and dashes meet in PLAIN addresses: where they may, only a slow pattern could tell."""
    return ".." in text or ".-" in text or "-." in text


def _without_scheme(text: str) -> str:
    """Return the address in a "mailto:" URL (RFC 6068) or behind "smtp:"; any other text as it is."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    rest = text[scheme.end() :]
    return unquote(rest.partition("?")[0]) if scheme[1].lower() == "mailto" else rest


def _a_form(domain: str) -> str | None:
    """Return a domain in its A-form and lower case, or None if it is not valid."""
    domain = domain.removesuffix(".")
    if domain.isascii():
        return domain.lower()
    # Joiners tell some domains apart (RFC 5892, A.1 and A.2). Where they may not be they are what copying left behind.
    for candidate in dict.fromkeys((domain, domain.translate(_NO_WIDTH))):
        if len(candidate) > _MAX_DOMAIN:  # its A-form would be longer still; idna takes 0.2 ms to say so
            continue
        try:
            return idna.encode(candidate, uts46=True).decode("ascii").lower().removesuffix(".")
        except UnicodeError:  # idna's own errors are UnicodeErrors
            continue
    return None


def domain_of(address: str) -> str:
    """Return the domain of a normal form."""
    return address.rpartition("@")[2]


def readable(address: str) -> str:
    """Return a normal form as people write it, its domain in Unicode; as it is if that would be another address."""
    local, at, domain = address.rpartition("@")
    if "xn--" not in domain:
        return address
    try:
        text = f"{local}{at}{idna.decode(domain)}"
    except UnicodeError:  # idna's own errors are UnicodeErrors
        return address
    return text if normalise(text) == address else address


def normalise_domain(domain: str, *, gmail_dots: bool = False) -> str:
    """Return the form in which `domain_of` gives this domain; one that is none stays as it is, and matches nothing."""
    address = normalise(f"x@{domain}")
    return domain_of(fold(address, plus=False, gmail_dots=gmail_dots)) if address else domain


def fold(address: str, *, plus: bool, gmail_dots: bool) -> str:
    """Return the one form of all addresses (normal forms) that the operator takes for one person's.

    `plus`: without a "+tag". `gmail_dots`: Gmail's without dots, and googlemail.com as gmail.com.
    """
    if plus:
        address = fold_plus(address)
    if gmail_dots:
        address = _fold_gmail(address)
    return address


def fold_plus(address: str) -> str:
    """Return a normal form without its "+tag": another person's at some providers, so only where the operator asks."""
    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        return address
    return f"{local.partition('+')[0] or local}@{domain}"


def _fold_gmail(address: str) -> str:
    local, _, domain = address.rpartition("@")
    if domain not in ("gmail.com", "googlemail.com"):
        return address
    if not local.startswith('"'):
        local = local.replace(".", "")
    return f"{local}@gmail.com"
