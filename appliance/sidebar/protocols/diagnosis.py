"""Why a signature may be wrong: the mistakes that are made, and how to tell them.

A refusal stays a refusal, of the same bytes. What is found here is for the operator's log and health alone, and holds
nothing that was expected. Every variation is always computed and compared, so the time says nothing of which one fits.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from appliance.outcomes import ADVICE, Advice, Cause
from appliance.sidebar.protocols.base import Diagnosis
from appliance.sidebar.protocols.secret_shapes import meant, what_is_odd

MAX_BODY: Final = 64 * 1024
"""Larger bodies are not varied: Help Scout's have one or two KiB."""

# Beyond this, JSON is not written anew and the long table of names is not tried, or a body made on purpose would take
# tens of milliseconds of a worker's time; nor is JSON that nests deep.
_MAX_VARIED: Final = 8 * 1024
_MAX_NESTED: Final = 32


class _Candidate(NamedTuple):
    """A mistake, with the key and the message of which it would have made the signature."""

    diagnosis: Diagnosis
    key: bytes
    message: bytes
    advice: Advice | None = None
    """What to say of it in the place of its cause's."""


class Diagnoser:
    """Knows the secrets of an app and of the others, as bytes, to vary them."""

    __slots__ = ("_others", "_own")

    def __init__(self, own: Sequence[bytes], others: Mapping[str, Sequence[bytes]]) -> None:
        """`own` are the app's secrets, `others` those of each other app by its name."""
        self._own = tuple(own)
        self._others = {name: tuple(secrets) for name, secrets in others.items()}

    def __repr__(self) -> str:
        return "Diagnoser(...)"

    def diagnose(self, body: bytes, signature: bytes | None, encoding: str = "") -> Diagnosis:
        """Return why `signature`, a header value or None, may not sign `body`. Raises nothing, whatever the bytes.

        `encoding` is the message's Content-Encoding, "" for none.
        """
        return self.explain(body, signature, encoding)[0]

    def explain(self, body: bytes, signature: bytes | None, encoding: str = "") -> tuple[Diagnosis, Advice]:
        """Return the same with what to say of it."""
        found = self._find(body, signature, encoding)
        return found.diagnosis, found.advice or ADVICE[found.diagnosis.cause]

    def _find(self, body: bytes, signature: bytes | None, encoding: str) -> _Candidate:
        if not signature:
            return _verdict(Cause.MISSING)
        digest, form = _read(signature)
        if digest is None:
            return _verdict(Cause.MALFORMED)
        if not body:
            return _verdict(Cause.LOST_BODY)
        if compression := _compression(body, encoding):
            why, todo = ADVICE[Cause.CONTENT_ENCODING]
            return _verdict(Cause.CONTENT_ENCODING, Advice(f"{why} (Content-Encoding: {compression})", todo))
        if len(body) > MAX_BODY:
            return _verdict(Cause.UNKNOWN)
        algorithm = _ALGORITHMS[len(digest)]
        found = [
            candidate
            for candidate in self._candidates(body, form)
            if hmac.compare_digest(hmac.digest(candidate.key, candidate.message, algorithm), digest)
        ]
        return found[0] if found else _verdict(Cause.UNKNOWN)

    def _candidates(self, body: bytes, form: Cause) -> Iterator[_Candidate]:
        """Return each mistake with the secret and the body that it would have signed, the likelier before."""
        for secret in self._own:
            yield _Candidate(Diagnosis(form), secret, body)
        for name, secrets in self._others.items():
            for secret in secrets:
                yield _Candidate(Diagnosis(Cause.OTHER_APP, name), secret, body)
        for secret in self._own:
            for cause, other, advice in _secrets_near(secret, named=len(body) <= _MAX_VARIED):
                yield _Candidate(Diagnosis(cause), other, body, advice)
        for cause, other in dict.fromkeys(_bodies_near(body)):
            for secret in self._own:
                yield _Candidate(Diagnosis(cause), secret, other)


def _verdict(cause: Cause, advice: Advice | None = None) -> _Candidate:
    return _Candidate(Diagnosis(cause), b"", b"", advice)


# How compressed bodies begin (RFC 1952, 1950, 8878), for whoever takes the field away and not the compression. No JSON
# begins so. Of what is not here, such as br, only the field tells.
_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    *((b"\x78" + level, "deflate") for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


def _compression(body: bytes, encoding: str) -> str:
    """Return how a body is compressed, "" if it is not: a field may stay when the body was unpacked on the way."""
    if encoding and not body.lstrip().startswith((b"{", codecs.BOM_UTF8)):
        return encoding
    return next((name for beginning, name in _COMPRESSED if body.startswith(beginning)), "")


_ALGORITHMS: Final = {20: "sha1", 32: "sha256"}
_PREFIX: Final = re.compile(rb"(?i)(?:hmac[- ]?)?(?:sha-?1|sha-?256)?[=: ]")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+")


def _read(signature: bytes) -> tuple[bytes | None, Cause]:
    """Return the digest in a header value, however it is written, and what is wrong if it is the right one."""
    text = signature.strip()
    plain = _PREFIX.sub(b"", text, count=1) if _PREFIX.match(text) else text
    plain = plain.strip(b"\"' ")
    if _HEX.fullmatch(plain) and len(plain) // 2 in _ALGORITHMS:
        return binascii.unhexlify(plain), Cause.HEX
    plain = plain.rstrip(b"=").translate(_STANDARD)
    try:
        digest = base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return None, Cause.MALFORMED
    if _HEX.fullmatch(digest) and len(digest) // 2 in _ALGORITHMS:
        return binascii.unhexlify(digest), Cause.HEX
    if len(digest) not in _ALGORITHMS:
        return None, Cause.MALFORMED
    return digest, Cause.SHA256 if _ALGORITHMS[len(digest)] == "sha256" else Cause.ENCODING


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


# What gets around a secret that is copied: from a file, a shell, a page, a letter.
_SPACES: Final = {
    " ": "a space",
    "  ": "two spaces",
    "\t": "a tab",
    "\n": "a line end",
    "\r\n": "a line end of Windows",
    "\u00a0": "a no-break space",
    "\u200b": "a zero-width space",
    "\u2060": "a word joiner, which cannot be seen",
    "\ufeff": "a byte order mark",
}
_QUOTES: Final = tuple(
    (opening.encode(), closing.encode())
    for opening, closing in ('""', "''", "``", "“”", "‘’", "„“", "«»", "<>", "[]", "()")
)
_AROUND: Final = (
    *((space.encode(), b"", f"{name} before it") for space, name in _SPACES.items()),
    *((b"", space.encode(), f"{name} behind it") for space, name in _SPACES.items()),
    *((space.encode(), space.encode(), f"{name} on both sides") for space, name in _SPACES.items()),
    *((opening, closing, "quotes or brackets around it") for opening, closing in _QUOTES),
    *(
        (opening, closing + end, "quotes around it and white space behind them")
        for opening, closing in _QUOTES[:2]
        for end in (b"\n", b"\r\n", b" ")
    ),
    *((mark, b"", "a quote before it") for mark in (b'"', b"'")),  # half of what was between quotes
    *((b"", mark, "a quote, comma or semicolon behind it") for mark in (b'"', b"'", b",", b";", b'",', b'";')),
)
_KEYS: Final = (
    *("SECRET", "SECRET_KEY", "SHARED_SECRET", "APP_SECRET", "WEBHOOK_SECRET", "KEY"),
    *("HELPSCOUT_SECRET", "HELPSCOUT_SECRET_KEY", "HELP_SCOUT_SECRET", "FREESCOUT_SECRET", "SIDEBARD_SECRET"),
)
_NAMED: Final = tuple(
    (f"{name}={mark}".encode(), mark.encode(), "NAME= before it")
    for key in _KEYS
    for name in (key, key.lower())
    for mark in ("", '"', "'")
)
_BLANKS: Final = rb"(?:\s|\xc2\xa0|\xe2\x80\x8b|\xef\xbb\xbf)+"
_BLANK: Final = re.compile(rb"\A" + _BLANKS + rb"|" + _BLANKS + rb"\Z")
_END: Final = re.compile(rb"[,;]+\Z")
_NAME: Final = re.compile(rb"\A(?:export\s+)?[\"']?[A-Za-z_][A-Za-z0-9_.-]*[\"']?\s*[=:]\s*(?=.*\w)", re.DOTALL)


# What is said of whatever the sender's secret has around it.
_ADVICE_ON_SENDER: Final = {
    what: Advice(
        f"the sender's secret has {what}, and the one here has not",
        "in Help Scout's form, enter exactly the secret that is here",
    )
    for what in dict.fromkeys(what for _before, _after, what in _AROUND + _NAMED)
}


def _secrets_near(secret: bytes, *, named: bool) -> Iterator[tuple[Cause, bytes, Advice | None]]:
    """Return what the sender may have for a secret instead; `named`: also with NAME= before it."""
    layers = tuple(dict.fromkeys(_peeled(secret)))
    odd, todo = what_is_odd(secret)
    on_ours = Advice(f"the secret here {odd}; the sender's has nothing of that", todo) if odd else None
    for other in dict.fromkeys((*layers, *meant(secret))):
        yield Cause.WHITESPACE_OR_QUOTES, other, on_ours
    for inner in (secret, *layers[-1:]):
        for before, after, what in _AROUND + _NAMED if named else _AROUND:
            yield (
                Cause.WHITESPACE_OR_QUOTES,
                before + inner + after,
                _ADVICE_ON_SENDER[what] if inner is secret else None,
            )
    trimmed = secret.strip()
    yield Cause.ENCODED, base64.b64encode(secret), None
    yield Cause.ENCODED, binascii.hexlify(secret), None
    with suppress(ValueError):
        yield Cause.ENCODED, base64.b64decode(trimmed, validate=True), None
    with suppress(ValueError):
        yield Cause.ENCODED, binascii.unhexlify(trimmed), None


def _peeled(secret: bytes) -> Iterator[bytes]:
    """Return a secret without what is around it, a layer less each time: white space, NAME=, quotes."""
    for peel in (_BLANK, _NAME, _BLANK, _END, None, _BLANK):
        inner = peel.sub(b"", secret) if peel is not None else _without_quotes(secret)
        if inner not in (secret, b""):
            secret = inner
            yield secret


def _without_quotes(secret: bytes) -> bytes:
    for opening, closing in _QUOTES:
        if secret.startswith(opening) and secret.endswith(closing) and len(secret) > len(opening + closing):
            return secret[len(opening) : -len(closing)]
    return secret.strip(b"\"'")


def _bodies_near(body: bytes) -> Iterator[tuple[Cause, bytes]]:
    """Return what the sender may have signed instead."""
    lines = body.replace(b"\r\n", b"\n")
    for other in (lines, lines.replace(b"\n", b"\r\n"), body + b"\n", body + b"\r\n", body.rstrip(), body.strip()):
        yield Cause.LINE_ENDS, other
    yield Cause.TRANSCODED, codecs.BOM_UTF8 + body
    yield Cause.TRANSCODED, body.removeprefix(codecs.BOM_UTF8)
    with suppress(UnicodeError):
        yield Cause.TRANSCODED, body.decode("latin-1").encode()
    with suppress(UnicodeError):
        yield Cause.TRANSCODED, body.decode().encode("latin-1")
    for other in _written_anew(body):
        yield Cause.RESERIALIZED, other
    yield Cause.ENCODED_BODY, base64.b64encode(body)
    with suppress(ValueError):
        yield Cause.ENCODED_BODY, base64.b64decode(body, validate=True)


# Layouts of PHP, JavaScript and Python: on one line without and with spaces, and indented by two and by four.
_LAYOUTS: Final = ((None, (",", ":")), (None, (", ", ": ")), (2, (",", ": ")), (4, (",", ": ")))


def _written_anew(body: bytes) -> Iterator[bytes]:
    r"""Return the same JSON as common senders write it; PHP's json_encode escapes "/" as "\/"."""
    if len(body) > _MAX_VARIED or body.count(b"[") + body.count(b"{") > _MAX_NESTED:
        return
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    for ascii_only in (True, False):
        for indent, separators in _LAYOUTS:
            try:
                text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators)
                yield text.encode()
                yield text.replace("/", "\\/").encode()
            except (ValueError, RecursionError):  # half a surrogate pair, which UTF-8 cannot spell
                continue
