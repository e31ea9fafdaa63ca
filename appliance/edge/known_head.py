"""The head of a request that differs from an earlier one of its connection by its signature and its length alone.

A help desk sends one request after the other with the same fields, and only two of their values change. What llhttp
makes of such a head is known: within a field's value all characters of base64 are the same to it, and so are the digits
of Content-Length but for the length that they announce. So a read that consists of a head which is the earlier one,
byte for byte but for these two values, and of just as many bytes as it announces, is a request that needs no parser:
llhttp is between two requests before it and after it.

Everything else, such as a request that came in two reads, is not recognised, and is parsed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_END: Final = b"\r\n\r\n"
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)
_MIN_SIGNATURE: Final = 16
"""Characters. A shorter value could be that of another field, too."""


class KnownHead(NamedTuple):
    """A head without its two values: `before` the first one, `between` them, and `after` the second."""

    before: bytes
    between: bytes
    after: bytes
    begin: int
    """Where the signature begins if the length, which may come before it, has no digits."""
    size: int
    """Characters of the signature."""
    length_first: bool
    """Whether Content-Length comes before the signature."""

    def split(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the signature and the body of a request, if `data` is one with this head; else None."""
        before, between, after, begin, size, length_first = self
        end = data.find(_END) + len(_END)
        body = data[end:]
        length = b"%d" % len(body)
        if length_first:
            begin += len(length)
            signature = data[begin : begin + size]
            head = b"".join((before, length, between, signature, after))
        else:
            signature = data[begin : begin + size]
            head = b"".join((before, signature, between, length, after))
        return None if data[:end] != head or signature.translate(None, _BASE64) else (signature, body)


def learn(data: bytes, signature: bytes) -> KnownHead | None:
    """Return the head of `data`, a request that llhttp has accepted, with `signature` as the value of one field.

    None if it cannot be told where its two values are.
    """
    head = data[: data.find(_END) + len(_END)]
    lengths = list(_LENGTH.finditer(head))
    if len(lengths) != 1 or head.count(signature) != 1:
        return None
    if len(signature) < _MIN_SIGNATURE or signature.translate(None, _BASE64):
        return None
    length_begin, length_end = lengths[0].span(1)
    begin, size = head.index(signature), len(signature)
    end = begin + size
    if length_begin < begin:
        between = head[length_end:begin]
        return KnownHead(head[:length_begin], between, head[end:], length_begin + len(between), size, length_first=True)
    return KnownHead(head[:begin], head[end:length_begin], head[length_end:], begin, size, length_first=False)
