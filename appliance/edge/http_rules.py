"""The rules of HTTP/1.1 that llhttp leaves to its user.

llhttp refuses by itself: Content-Length beside Transfer-Encoding, two lengths, signs and hexadecimal in lengths, space
before a colon, folded lines, bare CR and LF, NUL, lower-case methods. Numbers below are sections of RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from appliance.edge.refusals import MAX_BODY_BYTES, MESSAGE_LIMIT, BodyLimit, Refusal

Fields = Sequence[tuple[bytes, bytes]]

# RFC 3986, 3.2.2, without user information, which 4.2.4 of RFC 9110 tells servers to be wary of.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)

# The fields that decide what a request means, and the one that its diagnosis needs. No other is looked at.
WATCHED: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"}
)
CONTENT_LENGTH_DIGITS: Final = len(str(MAX_BODY_BYTES))


class HttpRefused(Exception):
    """The request is refused, and the connection ends with it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.name)
        self.refusal: Final = refusal


class Head(NamedTuple):
    """What a request's header fields mean."""

    host: bytes
    waits: bool
    """Whether the client waits for "100 Continue" before it sends the body."""
    length: int | None
    """Bytes of the body; None if it is chunked."""


def check_head(
    raw: bytes, method: bytes, target: bytes, version: str, fields: Fields, limit: BodyLimit = MESSAGE_LIMIT
) -> Head:
    """Check a request's head, which is `raw` as it came, with the empty lines before it. Raises HttpRefused.

    `limit` is that of its body.
    """
    if method == b"CONNECT":
        raise HttpRefused(Refusal.UNSUPPORTED)
    # llhttp also reads RTSP, ICE and HTTP/0.9, and any number of spaces, and does not say which it was.
    line = b"%b %b HTTP/%b\r\n" % (method, target, version.encode())
    if version not in ("1.1", "1.0") or not raw.lstrip(b"\r\n").startswith(line):
        raise HttpRefused(Refusal.BAD_REQUEST)
    if target == b"*" and method != b"OPTIONS":  # 3.2.4
        raise HttpRefused(Refusal.BAD_REQUEST)
    if b"#" in target:  # a fragment is never sent (3.2)
        raise HttpRefused(Refusal.BAD_REQUEST)
    values: dict[bytes, list[bytes]] = {name: [] for name in WATCHED}
    for each, value in fields:
        if (name := each.lower()) in values:
            values[name].append(value)
    host = _host(values[b"host"], version)
    _check_framing(values, version, limit)
    waits = version == "1.1" and any(value.strip().lower() == b"100-continue" for value in values[b"expect"])
    return Head(host, waits, None if values[b"transfer-encoding"] else _length(values[b"content-length"]))


def _host(values: Sequence[bytes], version: str) -> bytes:
    """Return the only Host (3.2), empty if HTTP/1.0 has none. Raises HttpRefused."""
    if not values and version == "1.0":
        return b""
    if len(values) != 1 or not _HOST.fullmatch(values[0].strip(b" \t")):
        raise HttpRefused(Refusal.BAD_REQUEST)
    return values[0]


def _check_framing(values: dict[bytes, list[bytes]], version: str, limit: BodyLimit) -> None:
    codings = values[b"transfer-encoding"]
    if codings and version == "1.0":  # 6.1: such a message has faulty framing
        raise HttpRefused(Refusal.BAD_REQUEST)
    if values[b"upgrade"] or (codings and [coding.strip(b" \t").lower() for coding in codings] != [b"chunked"]):
        raise HttpRefused(Refusal.UNSUPPORTED)
    if _length(values[b"content-length"]) > limit.size:
        raise HttpRefused(limit.refusal)


def _length(values: Sequence[bytes]) -> int:
    """Return the length of a body; llhttp has made sure that it is one number or none."""
    # Leading zeros are allowed (8.6 of RFC 9110), and int() refuses 4,300 digits, whatever they are.
    return int(values[0].strip(b" \t").lstrip(b"0") or b"0") if values else 0


_NOT_IN_CODINGS: Final = re.compile(r"[^a-z0-9!#$&^_.+, -]")
_MAX_CODINGS: Final = 40


def content_encoding(fields: Fields) -> str:
    """Return a body's Content-Encoding (RFC 9110, 8.4), in lower case and fit for a log; "" for none."""
    values = [value.decode("latin-1").strip().lower() for name, value in fields if name.lower() == b"content-encoding"]
    encoding = ", ".join(value for value in values if value not in ("", "identity"))
    return _NOT_IN_CODINGS.sub("?", encoding)[:_MAX_CODINGS]


def split_absolute(target: bytes) -> tuple[bytes, bytes | None]:
    """Return a target in origin form, and the host that an absolute one names, which overrides Host (3.2.2).

    Raises HttpRefused for other schemes, and for an authority that is malformed.
    """
    if target.startswith(b"/") or target == b"*":
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _HOST.fullmatch(match[1]):
        raise HttpRefused(Refusal.BAD_REQUEST)
    path = match[2]
    return (path if path.startswith(b"/") else b"/" + path), match[1]
