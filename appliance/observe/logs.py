"""JSON log lines: events through structlog, and the request line with its fixed set of keys.

No line holds an address, a name, a secret or a signature. Events take named facts that our own code chose; what the
libraries log is reduced to its unformatted message, because the values that they would format in come from clients.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec
import structlog

from appliance.observe import console
from appliance.observe.writer import MAX_PIECE
from appliance.outcomes import Outcome, Reply

log: Final = structlog.get_logger()

_encoder: Final = msgspec.json.Encoder()
_FIRST: Final = ("timestamp", "level", "event")
_TO_THE_SECOND: Final = len("2000-01-01T00:00:00")
_SHORTER: Final = ((20, 200), (5, 100), (0, 50))

PRIORITIES: Final = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}
"""The prefix by which the journal knows the level of a line (sd-daemon(3))."""

REQUEST_LEVEL: Final = "info"

MAX_REFUSALS: Final = 10
"""Lines a second about refused requests. Further ones are counted, so that no client can fill the disk."""


class RequestLine(msgspec.Struct, frozen=True, gc=False):
    """Everything that is ever logged about one request: there is no field for anything else."""

    timestamp: str
    level: str
    event: str
    app: str
    status: int
    outcome: str
    cache: str
    duration_us: int
    bytes: int
    peer: str
    conversation: int | None
    mailbox: int | None
    agent: int | None
    customer: str | None


class Stream(Protocol):
    """A destination of whole lines: a Writer, or a binary file."""

    def write(self, line: bytes, /) -> object:
        """Write one line, with its line end."""

    def flush(self) -> object:
        """Have what was written reach the descriptor soon."""


class LineSink(Protocol):
    """A destination of lines that are not encoded yet: a Writer."""

    def take(self, line: RequestLine, /) -> object:
        """Accept one line."""


class RequestSink(Protocol):
    """Is told of every answered request: a RequestLog, an AuditTrail."""

    def write(self, reply: Reply, app: str, duration_us: int, peer: str, /) -> None:
        """Record what `reply` was sent by `app` ("" for none) to `peer`, and how many microseconds it took to make."""


class RequestSinks:
    """Tells several sinks of every answered request, in this order."""

    def __init__(self, sinks: Sequence[RequestSink]) -> None:
        self._writes = tuple(sink.write for sink in sinks)

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """See RequestSink."""
        for write in self._writes:
            write(reply, app, duration_us, peer)


class RequestLog:
    """Writes one line per request, but only MAX_REFUSALS lines a second about refused ones."""

    def __init__(self, sink: LineSink, clock: Callable[[], float], *, on: bool = True, terminal: bool = False) -> None:
        """`clock` returns seconds since 1970; `on` is `[log] requests`; on a `terminal` lines are for people."""
        self._take = sink.take
        self._stamp = TimestampFormatter(clock)
        self._on = on
        self._terminal = terminal
        self._second = ""
        self._refused = 0
        self._suppressed: dict[str, int] = {}

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Log a request. See RequestSink."""
        if reply.fault:
            log.error("card_fault" if reply.outcome is Outcome.CARD_FAULT else "data_fault", app=app, why=reply.fault)
        if not self._on:
            return
        now = self._stamp()
        if reply.response.status >= 400 and not self._under_limit(reply, now[:_TO_THE_SECOND]):
            return
        line = RequestLine(
            now,
            REQUEST_LEVEL,
            "request",
            app,
            reply.response.status,
            reply.outcome,
            reply.cache,
            duration_us,
            len(reply.response.body),
            peer,
            reply.conversation,
            reply.mailbox,
            reply.agent,
            reply.customer,
        )
        if self._terminal:
            facts = msgspec.structs.asdict(line)
            log.info("request", **{name: facts[name] for name in facts if name not in _FIRST})
        else:
            self._take(line)

    def tick(self) -> None:
        """Report the refusals of the last second that have no line of their own; to be called once a second."""
        if self._stamp()[:_TO_THE_SECOND] != self._second:
            self._report_suppressed()

    def close(self) -> None:
        """Report the refusals that have no line of their own, at the end."""
        self._report_suppressed()

    def _under_limit(self, reply: Reply, second: str) -> bool:
        if second != self._second:
            self._report_suppressed()
            self._second = second
            self._refused = 0
        self._refused += 1
        if self._refused <= MAX_REFUSALS:
            return True
        self._suppressed[reply.outcome] = self._suppressed.get(reply.outcome, 0) + 1
        return False

    def _report_suppressed(self) -> None:
        if self._suppressed:
            suppressed, self._suppressed = self._suppressed, {}
            log.warning("refusals_not_logged", count=sum(suppressed.values()), outcomes=suppressed)


class TimestampFormatter:
    """Formats the current time for `timestamp`, to the millisecond: many lines have the same, and it is made once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since 1970."""
        self._clock = clock
        self._milliseconds = self._second = -1
        self._prefix = self._text = ""

    def __call__(self) -> str:
        """Return the current time, in ISO 8601 with milliseconds."""
        now = int(self._clock() * 1000)
        if now != self._milliseconds:
            self._milliseconds = now
            second, rest = divmod(now, 1000)
            if second != self._second:
                self._second = second
                self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")  # takes 2 us
            self._text = f"{self._prefix}.{rest:03}Z"
        return self._text


def configure(
    stream: Stream, clock: Callable[[], float], *, level: str = "info", terminal: bool = False, journal: bool = False
) -> None:
    """Send every event of this process, our own and the libraries', to `stream`.

    Each is a line of JSON; on a `terminal` a line for people; for the `journal` with the level in front, which systemd
    removes.
    """
    number = logging.getLevelName(level.upper())
    now = TimestampFormatter(clock)
    colours = not os.environ.get("NO_COLOR")  # https://no-color.org

    def render(_logger: object, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[bytes], dict[str, Any]]:
        prefix = PRIORITIES[method] if journal else b""
        line = _fit({"timestamp": now(), "level": method, "event": event["event"], **event}, MAX_PIECE - len(prefix))
        return (prefix + line + b"\n",), {}

    def render_for_people(
        _logger: object, method: str, event: MutableMapping[str, Any]
    ) -> tuple[tuple[bytes], dict[str, Any]]:
        return (console.line(clock(), method, dict(event), colours=colours).encode(),), {}

    structlog.configure(
        processors=[render_for_people if terminal else render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda: _Sink(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(number, logging.INFO))


class _Sink:
    """Passes lines on to a stream.

    It has no lock, unlike structlog's own loggers: a finalizer that logs in the middle of a write would deadlock.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def msg(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()

    debug = info = warning = error = critical = msg


def _encode(event: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:  # the name of a file, which need not be UTF-8
        return _encoder.encode(_escaped(event))


def _escaped(value: Any) -> Any:
    """Return a value whose texts are UTF-8; other bytes are escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(name): _escaped(item) for name, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


def _fit(event: dict[str, Any], room: int) -> bytes:
    """Encode an event in fewer bytes than `room`; if it is too long, with the ends of lists and the starts of texts."""
    line = _encode(event)
    for items, characters in _SHORTER:
        if len(line) < room:
            return line
        cut = {name: _shorten(value, items, characters) for name, value in event.items()}
        line = _encode({**cut, "shortened": True})
    if len(line) < room:
        return line
    return _encode({name: event[name] for name in _FIRST} | {"shortened": True})


def _shorten(value: Any, items: int, characters: int) -> Any:
    if isinstance(value, str):
        return value[:characters]
    if isinstance(value, list):
        return [_shorten(item, items, characters) for item in value[len(value) - items if items < len(value) else 0 :]]
    return value


class _Forward(logging.Handler):
    """Turns what libraries log into our events, without the values in it."""

    def emit(self, record: logging.LogRecord) -> None:
        # asyncio formats its messages itself: fixed words, then the repr of a call, then one repr per line.
        message = str(record.msg).partition("\n")[0].partition("(")[0]
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, "library", library=record.name, message=message, **describe(error))


def describe(error: BaseException | None) -> dict[str, str | list[str]]:
    """Return what a log line may say about an exception: its type and where it was raised, not its text."""
    if error is None:
        return {}
    return {"error": type(error).__qualname__, "frames": places(error.__traceback__)}


def places(trace: TracebackType | None) -> list[str]:
    """Return the places of a traceback, the innermost last. Reads no source file: a client may be waiting."""
    return [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in traceback.walk_tb(trace)]


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Return whether this descriptor is the one that systemd connected to the journal, not a pipe or a file."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
