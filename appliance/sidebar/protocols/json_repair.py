"""Makes strict JSON of what some programs write for it, so that a signed message that can be understood is.

A subject cut within an emoji leaves half a surrogate pair; PHP forks and proxies add a byte order mark, NaN, bytes of
another encoding. What cannot be text becomes U+FFFD, which is never part of an address; NaN and the infinities become
null. Brackets, commas, quotes and digits are left as they are: what is no JSON stays none.
"""

from __future__ import annotations

import json
import re
from typing import Final

# A string is one match, so that nothing in it is taken for a word of JSON's own.
_STRING_OR_WORD: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\bInfinity\b|\bNaN\b', re.DOTALL)
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_CONTROL: Final = dict.fromkeys(range(1, 0x20), " ")  # not NUL: a body of those is no text


def repair(body: bytes) -> bytes:
    """Return `body` in UTF-8, and as strict JSON if a lenient reader takes it for JSON. Takes time by its length."""
    text = body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff").translate(_CONTROL)
    return _STRING_OR_WORD.sub(_repaired, text).encode("utf-8", "replace")


def _repaired(match: re.Match[str]) -> str:
    text = match[0]
    if not text.startswith('"'):
        return "null"
    return _ESCAPE.sub(lambda escape: r"\ufffd" if escape["half"] else escape[0], text) if "\\" in text else text
