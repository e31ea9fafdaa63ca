"""The first difference between two bodies, in words that fit a line and contain no address."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

_AROUND: Final = 100  # bytes on each side that are searched for addresses
_BEFORE: Final = 24
_SHOWN: Final = 40
_ADDRESS: Final = re.compile(rb"[^\s<>\"'\\@:]+@[^\s<>\"'\\@]+")


def first_difference(here: bytes, there: bytes) -> str:
    """Return the position of the first different byte, and what each body has there, from the last tag on.

    `here` is the body that was expected, `there` the one that was received.
    """
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False)))
    begin = max(here.rfind(b">", 0, same) + 1, same - _BEFORE, 0)
    return f"at byte {same + 1}: received {_excerpt(there, begin)}, expected {_excerpt(here, begin)}"


def _excerpt(body: bytes, begin: int) -> str:
    start = max(0, begin - _AROUND)
    masked = _ADDRESS.sub(lambda found: b"*" * len(found[0]), body[start : begin + _AROUND])
    text = masked[begin - start :].decode("utf-8", "ignore")
    if not text:
        return "the end"
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:_SHOWN])
    return f'"{shown}"'
