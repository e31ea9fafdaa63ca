"""The query form of the signature, as Help Scout's current Apps platform puts it into an iframe's URL.

base64(HMAC-SHA1(secret, json)), where json is PHP's json_encode of the decoded parameters in order of arrival, without
the signature and without the callback URL's own parameters. Source: developer.helpscout.com/apps/guides/
signature-validation/, and PHP 8.2 for what json_encode writes. No page is served with it yet.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from appliance.sidebar.protocols.signature import Verifier

PARAMETER: Final = "X-HelpScout-Signature"
_MAX_QUERY: Final = 8192
# PHP turns dots and spaces into "_", brackets into arrays and whole numbers into list positions: a name with any of
# these does not come from Help Scout, and guessing what was signed would accept more than was meant.
_NAME: Final = re.compile(r"(?!\d+\Z)[A-Za-z0-9_-]+")
_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_ESCAPED: Final = re.compile(r'["\\/\x00-\x1f]|[^\x00-\x7f]')


class BadQuery(ValueError):
    """The query cannot be what Help Scout signed."""


def verify_query(query: str, verifier: Verifier, own: Collection[str] = ()) -> bool:
    """Return whether the raw query text (no leading "?") carries a right signature.

    `own` names the callback URL's own parameters: they are not signed.
    """
    try:
        parameters = parse_query(query)
    except BadQuery:
        return False
    signature = parameters.pop(PARAMETER, None)
    if signature is None or not signature.isascii():
        return False
    signed = {name: value for name, value in parameters.items() if name not in own}
    return verifier.verify(php_json(signed).encode("ascii"), signature.encode("ascii"))


def parse_query(query: str) -> dict[str, str]:
    """Return the decoded parameters in order of arrival.

    Raises BadQuery for a name twice, one that PHP would rewrite, text that is not UTF-8, and more than 8 KiB.
    """
    if len(query) > _MAX_QUERY:
        raise BadQuery("longer than 8 KiB")
    parameters: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        try:
            name, value = (unquote_to_bytes(part.replace("+", " ")).decode("utf-8") for part in (name, value))
        except UnicodeError:
            raise BadQuery("not UTF-8") from None
        if not _NAME.fullmatch(name):
            raise BadQuery("a name that PHP would rewrite")
        if name in parameters:
            raise BadQuery("a name twice")
        parameters[name] = value
    return parameters


def php_json(parameters: Mapping[str, str]) -> str:
    r"""Write `parameters` as PHP's json_encode does: "/" as "\/", non-ASCII as lower-case \uXXXX, none at all as []."""
    if not parameters:
        return "[]"
    return "{" + ",".join(f"{_php_text(name)}:{_php_text(value)}" for name, value in parameters.items()) + "}"


def _php_text(text: str) -> str:
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _ESCAPES:
        return _ESCAPES[character]
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
