"""One line of a corpus: a signed request of a help desk or a browser, and the status that is expected."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from appliance.sidebar.protocols import DEFAULT

HEADER: Final = DEFAULT.header
"""Of a line that names none."""
METHODS: Final = ("POST", "GET")
MAX_ERRORS: Final = 20

_PATH: Final = re.compile(r"/[!-~]*")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token (RFC 9110, 5.6.2)
_VALUE: Final = re.compile(r"[ -~]*")


class CorpusLine(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line as it is in the file.

    The default of `path` is that of the URL, of `header` the default protocol's; without `expect` any status is right.
    """

    path: str = ""
    method: str = "POST"
    body: str | None = None
    body_base64: str | None = None  # for bytes that are not text
    header: str = ""
    signature: str | None = None  # None: the request has no such header
    event: str = ""  # of a webhook
    expect: int | None = None


class CorpusRequest(msgspec.Struct, frozen=True):
    """A line after validation."""

    path: str
    body: bytes
    header: str
    signature: str | None
    expect: int | None
    number: int
    """Its line in the file, from 1."""

    method: str = "POST"
    event: str = ""


class CorpusError(ValueError):
    """The corpus cannot be used. The text is one sentence per error, the first MAX_ERRORS of them."""


class _LineError(ValueError):
    """One line is wrong; the text says how, and what to do about it."""


_DECODER: Final = msgspec.json.Decoder(CorpusLine)
_encode: Final = msgspec.json.Encoder().encode


def write_line(line: CorpusLine) -> bytes:
    """Return the bytes of a line, with its line end."""
    return _encode(line) + b"\n"


def read_lines(name: str, lines: Iterable[bytes]) -> tuple[CorpusRequest, ...]:
    """Return the request on each line that is not blank; `name` is the file's, for messages. Raises CorpusError."""
    requests: list[CorpusRequest] = []
    errors: list[str] = []
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            requests.append(_read(raw, number))
        except _LineError as error:
            errors.append(f"{name}:{number}: {error}")
            if len(errors) == MAX_ERRORS:
                break
    if not requests and not errors:
        errors.append(f"{name}:1: contains no request; make some with sidebard requests")
    if errors:
        raise CorpusError("\n".join(errors))
    return tuple(requests)


def _read(raw: bytes, number: int) -> CorpusRequest:
    try:
        line = _DECODER.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        why = str(error).partition(" (byte")[0]
        if not why.isprintable():  # it quotes a field's name, which could hold a terminal's control characters
            why = ascii(why)[1:-1]
        raise _LineError(f'is not a request: {why}; write {{"path", "body", "signature", "expect"}} as JSON') from None
    if line.path and not _PATH.fullmatch(line.path):
        raise _LineError('"path" is not a path; begin it with "/" and use visible ASCII, with %XX for other bytes')
    if line.method not in METHODS:
        raise _LineError('"method" is neither GET, for a page, nor POST; write one of them, or leave it out')
    if line.method == "GET" and not (line.body is line.body_base64 is line.signature is None):
        raise _LineError('has both "method" GET and a body or signature; a page is signed in the query of its "path"')
    if line.header and not _NAME.fullmatch(line.header):
        raise _LineError(f'"header" is not the name of a header; write one such as {HEADER}')
    if line.signature is not None and not _VALUE.fullmatch(line.signature):
        raise _LineError('"signature" cannot be sent in a header; write it in visible ASCII')
    if line.event and not _NAME.fullmatch(line.event):
        raise _LineError('"event" is not the name of an event; write one such as customer.updated')
    if line.expect is not None and not 100 <= line.expect <= 599:
        raise _LineError('"expect" is not a status; write a number such as 200')
    header = line.header or HEADER
    return CorpusRequest(line.path, _body(line), header, line.signature, line.expect, number, line.method, line.event)


def _body(line: CorpusLine) -> bytes:
    if line.method == "GET":
        return b""
    if (line.body is None) == (line.body_base64 is None):
        raise _LineError('must have either "body" or "body_base64"')
    if line.body is not None:
        return line.body.encode()
    try:
        return binascii.a2b_base64(line.body_base64 or "", strict_mode=True)
    except (ValueError, binascii.Error):
        raise _LineError('"body_base64" is not base64; encode the bytes of the body with base64 -w0') from None
