"""A log line for people on a terminal: the local time, the event, the most important values, then the others.

    21:02:20  serving  127.0.0.1:8445, 300 customers  tls=yes workers=2

Nothing is left out: what is not in LEADS follows as key=value. Nothing can control the terminal: what is not printable
is shown as a middle dot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_COLOURS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m", "debug": _DIM}
_WIDTH: Final = 10  # of the time and what follows it
_SHOWN_ELSEWHERE: Final = ("timestamp", "level", "event")


def _text(value: Any) -> str:
    """Return a value as people write it."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "-"
    return _printable(str(value)) or "-"


def _printable(text: str) -> str:
    # Line ends stay, and the next line is indented: an error in the config may take many lines.
    shown = ("".join(letter if letter.isprintable() else "·" for letter in line) for line in text.splitlines())
    return f"\n{'':{_WIDTH}}".join(shown)


def _counted(word: str) -> Callable[[Any], str]:
    return lambda value: f"{'no' if value is None else f'{value:,}'} {word if value != 1 else word.removesuffix('s')}"


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.3g} ms"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s"


_customers: Final = _counted("customers")

LEADS: Final[Mapping[str, tuple[tuple[str, Callable[[Any], str]], ...]]] = {
    "serving": (("addresses", _text), ("rows", _customers), ("status_page", "open {}".format)),
    "reloaded": (("addresses", _text), ("rows", _customers), ("status_page", _text)),
    "stopping": (("connections", _counted("connections")),),
    "import": (("rows", _customers), ("seconds", _seconds)),
    "request": (("status", _text), ("outcome", _text), ("duration_us", _milliseconds)),
    "check_fault": (("check", _text), ("message", _text)),
    "check_warning": (("check", _text), ("message", _text)),
    "library": (("library", _text), ("message", _text)),
    "stderr": (("text", _text),),
    "unraisable": (("error", _text),),
    "crash": (("error", _text),),
    "warning": (("category", _text), ("where", _text)),
    "": (("why", _text), ("message", _text), ("todo", _text)),
}
"""Event -> the keys that come first, without their names, and how they are written; "" for every other event."""


def line(now: float, level: str, event: Mapping[str, Any], *, colours: bool) -> str:
    """Return the line of one event at `now`, seconds since 1970, with its line end."""
    name = str(event["event"])
    leads = [(key, say) for key, say in LEADS.get(name, LEADS[""]) if key in event]
    first = ", ".join(say(event[key]) for key, say in leads)
    rest = [key for key in event if key not in _SHOWN_ELSEWHERE and key not in dict(leads)]
    more = " ".join(f"{key}={_pair(event[key])}" for key in rest)
    if level not in ("info", "debug") and level != name:
        name = f"{level}: {name}"
    if colours:
        name = f"{_COLOURS.get(level, _BOLD)}{name}{_RESET}"
        more = more and f"{_DIM}{more}{_RESET}"
    time = datetime.fromtimestamp(now).strftime("%H:%M:%S")  # noqa: DTZ006  # the local time is what is wanted
    return "  ".join(part for part in (time, name, first, more) if part) + "\n"


def _pair(value: Any) -> str:
    """Return a value in quotes if it contains a space, so that its end can be seen."""
    text = _text(value)
    return f'"{text}"' if " " in text else text
