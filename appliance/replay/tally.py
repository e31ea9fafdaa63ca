"""What the processes of a run tell the one that shows it, and the words for what went wrong."""

from __future__ import annotations

import errno
import ssl
from typing import Final

import msgspec

from appliance.replay.difference import first_difference
from appliance.replay.histogram import Histogram

PATIENCE: Final = 10.0
"""Seconds until a request counts as not answered: no agent waits for longer."""

NO_ANSWER: Final = f"no answer in {PATIENCE:.0f} s"
CLOSED: Final = "closed without an answer"
NOT_HTTP: Final = "what came is not HTTP"
TOO_LONG: Final = "an answer over 4 MiB"
NO_TLS: Final = "no TLS there"
NOT_TRUSTED: Final = "certificate not trusted"
OTHER_NAME: Final = "certificate for another name"
EXPIRED: Final = "certificate expired"
OTHER_BODY: Final = "another body than this config and these customers give"

# What went wrong -> what to do, where that can be said.
HINTS: Final = {
    NOT_TRUSTED: "name its authority with --ca FILE, or --insecure",
    OTHER_NAME: "use a name that is in the certificate in --url, or --insecure",
    EXPIRED: "renew it, or use --insecure",
    OTHER_BODY: "it has other customers or another card; compare its config, and reload it",
    NOT_HTTP: "look whether --url needs https://",
    NO_TLS: "look whether --url needs http://",
    "no descriptor left here": "raise ulimit -n, or ask for fewer --connections",
    "no port left here": "keep connections, or ask for a lower --rate",
}
# X509_V_ERR_… of OpenSSL
_VERIFY: Final = {10: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME}
_NO_TLS_REASONS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_WORDS: Final[dict[int | None, str]] = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EMFILE: "no descriptor left here",
    errno.ENFILE: "no descriptor left here",
    errno.EADDRNOTAVAIL: "no port left here",
}


def kind_of(error: BaseException | None) -> str:
    """Give the words under which a failed connection is counted; None: the other side closed it in good order."""
    if error is None:
        return CLOSED
    if isinstance(error, TimeoutError):
        return NO_ANSWER
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(getattr(error, "verify_code", 0), NOT_TRUSTED)
    if isinstance(error, ssl.SSLError):
        return NO_TLS if error.reason in _NO_TLS_REASONS else f"TLS: {error.reason}"
    number = error.errno if isinstance(error, OSError) else None
    return _WORDS.get(number) or (errno.errorcode.get(number, "") if number else "") or type(error).__name__


class Wrong(msgspec.Struct):
    """Answers that were wrong in one way."""

    count: int
    first: int  # the line of one of them
    difference: str = ""  # of that one's body from the expected one


class Slice(msgspec.Struct, tag=True):
    """What one process counted in one step of the course over time. Latencies are microseconds."""

    place: int  # from 0
    latencies: dict[int, int] = {}
    largest: int = 0
    statuses: dict[int, int] = {}
    wrong: dict[str, Wrong] = {}
    failures: dict[str, int] = {}
    late: int = 0  # started late though a connection was free: the generator's own fault
    waited: int = 0  # started late because none was
    opened: int = 0
    offered: int = 0  # handshakes that offered a session
    resumed: int = 0


class Ready(msgspec.Struct, tag=True):
    """A process has opened its connections, or tried to."""

    opened: int = 0
    failures: dict[str, int] = {}


class Ended(msgspec.Struct, tag=True):
    """A process has done its part."""

    unsent: int  # planned and never started
    busy: float  # CPU seconds that it used
    seconds: float  # from the common start to its last answer


Message = Ready | Slice | Ended


class Tally:
    """The slice that a process is filling."""

    def __init__(self, place: int = 0) -> None:
        self._histogram = Histogram()
        self._slice = Slice(place)
        self.latency = self._histogram.add
        self.statuses = self._slice.statuses

    @property
    def counts(self) -> Slice:
        """What is counted besides latencies; to be raised in place."""
        return self._slice

    def wrong(self, why: str, line: int, bodies: tuple[bytes, bytes] | None = None) -> None:
        """Count an answer that is not what it should be; `bodies` are the expected one and that which came."""
        known = self._slice.wrong.get(why)
        if known is None:
            known = self._slice.wrong[why] = Wrong(0, line, first_difference(*bodies) if bodies else "")
        known.count += 1

    def failed(self, kind: str) -> None:
        """Count a request without an answer."""
        self._slice.failures[kind] = self._slice.failures.get(kind, 0) + 1

    def finish(self) -> Slice:
        """Give the slice."""
        self._slice.latencies = self._histogram.counts
        self._slice.largest = self._histogram.largest
        return self._slice
