"""JSON log lines: events through structlog, and the request line with its fixed set of keys.

No line holds an address, a name, a secret or a signature. Events take named facts that our own code chose; what the
libraries log is reduced to its unformatted message, for the values that they would format in come from clients.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec
import structlog

from appliance.observe import console
from appliance.observe.writer import MAX_PIECE
from appliance.outcomes import Outcome, Reply

log: Final = structlog.get_logger()

_encode: Final = msgspec.json.Encoder().encode
_FIRST: Final = ("timestamp", "level", "event")
_TO_THE_SECOND: Final = len("2000-01-01T00:00:00")
_SHORTER: Final = ((20, 200), (5, 100), (0, 50))

PRIORITIES: Final = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}
"""Each level as the journal takes it, in front of the line (sd-daemon(3))."""

REQUEST_LEVEL: Final = "info"

MAX_REFUSALS: Final = 10
"""Lines a second about refused requests; whoever sends more is counted, and fills no disk."""


class RequestLine(msgspec.Struct, frozen=True, gc=False):
    """All that is ever written about one request. The struct is the guarantee: there is no key for anything else."""

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
    """Takes whole lines: a Writer, or a file opened for bytes."""

    def write(self, line: bytes, /) -> object:
        """Take one line, with its end."""

    def flush(self) -> object:
        """See to it that what was taken is written soon."""


class Taker(Protocol):
    """Takes lines that are still to be encoded: a Writer."""

    def take(self, line: RequestLine, /) -> object:
        """Take one line."""


class RequestLog:
    """Writes one line a request, and of refusals not more than a reader can use."""

    def __init__(self, stream: Taker, clock: Callable[[], float], *, on: bool = True, terminal: bool = False) -> None:
        """`clock` gives seconds since 1970; `on` is `[log] requests`; on a terminal lines are for people."""
        self._take = stream.take
        self._stamp = Stamp(clock)
        self._on = on
        self._terminal = terminal
        self._second = ""
        self._refused = 0
        self._unsaid: dict[str, int] = {}

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Log what `reply` was given by `app` ("" for none) to `peer`, in how many microseconds."""
        if reply.fault:
            log.error("card_fault" if reply.outcome is Outcome.CARD_FAULT else "data_fault", app=app, why=reply.fault)
        if not self._on:
            return
        now = self._stamp()
        if reply.response.status >= 400 and not self._may_say(reply, now[:_TO_THE_SECOND]):
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
        """Say what was left unsaid in the second that has passed; called once a second."""
        if self._stamp()[:_TO_THE_SECOND] != self._second:
            self._say_the_rest()

    def close(self) -> None:
        """Say what was left unsaid, at the end."""
        self._say_the_rest()

    def _may_say(self, reply: Reply, second: str) -> bool:
        if second != self._second:
            self._say_the_rest()
            self._second = second
            self._refused = 0
        self._refused += 1
        if self._refused <= MAX_REFUSALS:
            return True
        self._unsaid[reply.outcome] = self._unsaid.get(reply.outcome, 0) + 1
        return False

    def _say_the_rest(self) -> None:
        if self._unsaid:
            unsaid, self._unsaid = self._unsaid, {}
            log.warning("refusals_not_logged", count=sum(unsaid.values()), outcomes=unsaid)


class Stamp:
    """Gives the time as `timestamp` does, and formats the date once a second: 0.3 us instead of 2."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._second = -1
        self._prefix = ""

    def __call__(self) -> str:
        """Give the time now."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._prefix}.{int((now - second) * 1_000_000):06}Z"


def configure(
    stream: Stream, clock: Callable[[], float], *, level: str = "info", terminal: bool = False, journal: bool = False
) -> None:
    """Send every event of this process, ours and the libraries', to `stream`.

    As JSON, or on a terminal for people; on the journal with the level in front, which systemd takes off again.
    """
    number = logging.getLevelName(level.upper())
    now = Stamp(clock)
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

    Without the lock of structlog's loggers: a finalizer that logs in the middle of a write would wait for it forever.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def msg(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()

    debug = info = warning = error = critical = msg


def _fit(event: dict[str, Any], room: int) -> bytes:
    """Encode an event in fewer bytes than `room`: of a longer one, its lists' ends and its texts' heads."""
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
    """Takes what libraries log into our events, without the values in it."""

    def emit(self, record: logging.LogRecord) -> None:
        # asyncio formats its text itself: fixed words, then the repr of a call, then reprs by the line.
        message = str(record.msg).partition("\n")[0].partition("(")[0]
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, "library", library=record.name, message=message, **describe(error))


def describe(error: BaseException | None) -> dict[str, str | list[str]]:
    """Give what a log line may say of an exception: its type and where it came from, not its text."""
    if error is None:
        return {}
    return {"error": type(error).__qualname__, "frames": places(error.__traceback__)}


def places(trace: TracebackType | None) -> list[str]:
    """Return where a traceback passed, the innermost place last. Reads no source file, for a client may wait."""
    return [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in traceback.walk_tb(trace)]


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether systemd says that this descriptor leads to the journal, and to no pipe or file behind it."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
