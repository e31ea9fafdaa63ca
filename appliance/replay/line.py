"""One line of a corpus: a signed request, and the status that it should be answered with."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from appliance.sidebar.protocols.helpscout_app import HelpScoutApp

HEADER: Final = HelpScoutApp.header
"""Of a line that names none."""
MAX_FAULTS: Final = 20

_PATH: Final = re.compile(r"/[!-~]*")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token (RFC 9110, 5.6.2)
_VALUE: Final = re.compile(r"[ -~]*")


class Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line as it stands in the file.

    Without a `path` the URL's is taken, without a `header` Help Scout's; without `expect` any status will do.
    """

    path: str = ""
    body: str | None = None
    body_base64: str | None = None  # for bytes that are no text
    header: str = ""
    signature: str | None = None  # none: the request has no such header
    expect: int | None = None


class Request(msgspec.Struct, frozen=True):
    """What a line says, checked."""

    path: str
    body: bytes
    header: str
    signature: str | None
    expect: int | None
    number: int
    """The line that it stands on, from 1."""


class LineFaults(ValueError):
    """The corpus cannot be used. The text is a sentence a fault, the first MAX_FAULTS of them."""


class _Fault(ValueError):
    """What is wrong with one line, and what to do about it."""


_DECODER: Final = msgspec.json.Decoder(Line)
_encode: Final = msgspec.json.Encoder().encode


def write_line(line: Line) -> bytes:
    """Give the bytes of a line, with its end."""
    return _encode(line) + b"\n"


def read_lines(name: str, lines: Iterable[bytes]) -> tuple[Request, ...]:
    """Give the request on each line that is not blank; `name` is the file's, for messages. Raises LineFaults."""
    requests: list[Request] = []
    faults: list[str] = []
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            requests.append(_read(raw, number))
        except _Fault as fault:
            faults.append(f"{name}:{number}: {fault}")
            if len(faults) == MAX_FAULTS:
                break
    if not requests and not faults:
        faults.append(f"{name}:1: there is no request; make some with sidebard requests")
    if faults:
        raise LineFaults("\n".join(faults))
    return tuple(requests)


def _read(raw: bytes, number: int) -> Request:
    try:
        line = _DECODER.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        why = str(error).partition(" (byte")[0]
        if not why.isprintable():  # it names a field as it stands there, and a terminal takes commands
            why = ascii(why)[1:-1]
        raise _Fault(f'not such a line: {why}; write {{"path", "body", "signature", "expect"}} as JSON') from None
    if line.path and not _PATH.fullmatch(line.path):
        raise _Fault('"path" is no path; begin it with "/" and use visible ASCII, the rest as %XX')
    if line.header and not _NAME.fullmatch(line.header):
        raise _Fault(f'"header" is no name of a header; write one such as {HEADER}')
    if line.signature is not None and not _VALUE.fullmatch(line.signature):
        raise _Fault('"signature" cannot stand in a header; write it in visible ASCII')
    if line.expect is not None and not 100 <= line.expect <= 599:
        raise _Fault('"expect" is no status; write a number such as 200')
    return Request(line.path, _body(line), line.header or HEADER, line.signature, line.expect, number)


def _body(line: Line) -> bytes:
    if (line.body is None) == (line.body_base64 is None):
        raise _Fault('name either "body" or "body_base64"')
    if line.body is not None:
        return line.body.encode()
    try:
        return binascii.a2b_base64(line.body_base64 or "", strict_mode=True)
    except (ValueError, binascii.Error):
        raise _Fault('"body_base64" is no base64; encode the body\'s bytes with base64 -w0') from None
