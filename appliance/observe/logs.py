"""JSON log lines: events through structlog, and the request line with its fixed set of keys.

No line holds an address, a name, a secret or a signature. Events take named facts that our own code chose; what the
libraries log is reduced to its unformatted message, for the values that they would format in come from clients.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Final, TextIO

import msgspec
import structlog

from appliance.sidebar.reply import Reply

LEVELS: Final = ("debug", "info", "warning", "error")
log: Final = structlog.get_logger()

_encode: Final = msgspec.json.Encoder().encode
_FIRST: Final = ("timestamp", "level", "event")


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """All that is ever written about one request. The struct is the guarantee: there is no key for anything else."""

    timestamp: str
    level: str = "info"
    event: str = "request"
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


class RequestLog:
    """Writes one line a request."""

    def __init__(
        self, stream: BinaryIO, clock: Callable[[], float], *, on: bool = True, terminal: bool = False
    ) -> None:
        """`clock` gives seconds since 1970; `on` is `[log] requests`; on a terminal lines are for people."""
        self._stream = stream
        self._clock = clock
        self._on = on
        self._terminal = terminal

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Log what `reply` was given by `app` ("" for none) to `peer`, in how many microseconds."""
        if not self._on:
            return
        line = RequestLine(
            timestamp=timestamp(self._clock()),
            app=app,
            status=reply.status,
            outcome=reply.outcome,
            cache=reply.cache,
            duration_us=duration_us,
            bytes=len(reply.body),
            peer=peer,
            conversation=reply.conversation,
            mailbox=reply.mailbox,
            agent=reply.agent,
            customer=reply.customer,
        )
        if self._terminal:
            facts = msgspec.structs.asdict(line)
            log.info("request", **{name: facts[name] for name in facts if name not in _FIRST})
        else:
            self._stream.write(_encode(line) + b"\n")
            self._stream.flush()


def timestamp(seconds: float) -> str:
    """Give seconds since 1970 as ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def configure(stream: BinaryIO, clock: Callable[[], float], *, level: str = "info", terminal: bool = False) -> None:
    """Send every event of this process, ours and the libraries', to `stream`, as JSON or for people on a terminal."""
    number = logging.getLevelName(level.upper())

    def stamp(_logger: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {"timestamp": timestamp(clock()), "level": method, **event}

    def render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
        return _encode({name: event[name] for name in _FIRST} | dict(event))

    def render_for_people(logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        return console(logger, method, event).encode()  # type: ignore[no-any-return]

    console: Any = structlog.dev.ConsoleRenderer() if terminal else None
    structlog.configure(
        processors=[stamp, render_for_people if terminal else render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(number, logging.INFO))
    warnings.showwarning = _show_warning
    sys.excepthook = _log_crash


class _Forward(logging.Handler):
    """Takes what libraries log into our events, without the values in it."""

    def emit(self, record: logging.LogRecord) -> None:
        # asyncio formats its text itself; its first line is fixed, the next hold reprs.
        message = str(record.msg).partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, "library", library=record.name, message=message, **describe(error))


def describe(error: BaseException | None) -> dict[str, str | list[str]]:
    """Give what a log line may say of an exception: its type and where it came from, not its text."""
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__qualname__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    log.warning("warning", category=category.__name__, where=f"{filename}:{lineno}", message=str(message))


def _log_crash(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("crash", **describe(error.with_traceback(trace)))
