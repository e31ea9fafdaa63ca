"""Parsers of single config values.

Each takes what TOML holds and returns a typed value, or raises InvalidValueError with the reason and what to do. None
of them opens a file or uses the network: whether a value works is for `sidebard check` and the start to find out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")
Parser = Callable[[object], T]

SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
LEVELS: Final = ("debug", "info", "warning", "error")

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_URL_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")  # RFC 3986, 3.3, without percent encoding
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20\x7f\"'<>\\^`|]+", re.IGNORECASE)
_PATTERN_MEMORY: Final = 1024 * 1024  # bytes that one may take; RE2's own limit is 8 MiB
_PLACE: Final = re.compile(r"\{[^{}]+\}")
_DOMAIN: Final = re.compile(r"[^\s@*/:.]+(?:\.[^\s@*/:.]+)*")
_PARAMETER: Final = re.compile(r"(?!\d+\Z)[A-Za-z0-9_-]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Pattern(Protocol):
    """A compiled pattern of RE2, whose time grows with the text and with nothing else; the package has no types."""

    @property
    def pattern(self) -> str:
        """The text it was made of."""
        ...

    @property
    def groups(self) -> int:
        """How many groups it has."""
        ...

    def finditer(self, text: str, /) -> Iterator[Any]:
        """Yield every match in `text`."""
        ...


class InvalidValueError(Exception):
    """A value is not what its key needs.

    `path` says where in the value, if that is a list or table: an index or a key. The text never repeats the value,
    which may be a secret.
    """

    def __init__(self, reason: str, hint: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.path = path


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Where customers or related rows are: what the config says, and the file that it is if it is no address."""

    text: str
    path: Path


# What is made of other parsers


def optional(parse: Parser[T]) -> Parser[T | None]:
    """Return a parser for which "" means off or not given: None."""
    return lambda value: None if value == "" else parse(value)


def or_empty(parse: Parser[str]) -> Parser[str]:
    """Return a parser that lets "" through as it is."""
    return lambda value: "" if value == "" else parse(value)


def list_of(
    parse: Parser[T], minimum: int = 0, maximum: int | None = None, too_many: str = ""
) -> Parser[tuple[T, ...]]:
    """Return a parser of a list without repetitions. It raises an ExceptionGroup of what is wrong with its items."""

    def parse_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise InvalidValueError("must be a list", "put it in brackets: [...]")
        items: list[T] = []
        invalid: list[InvalidValueError] = []
        for index, item in enumerate(value):
            try:
                parsed = parse(item)
            except InvalidValueError as error:
                invalid.append(InvalidValueError(error.reason, error.hint, (index, *error.path)))
                continue
            if parsed in items:
                invalid.append(InvalidValueError("is listed twice", "remove one", (index,)))
            items.append(parsed)
        if invalid:
            raise ExceptionGroup("invalid items", invalid)
        if len(items) < minimum:
            raise InvalidValueError(f"must have at least {minimum}", "add one")
        if maximum is not None and len(items) > maximum:
            raise InvalidValueError(f"must have at most {maximum}, not {len(items)}", too_many)
        return tuple(items)

    return parse_list


def pairs_of(parse: Parser[T]) -> Parser[tuple[tuple[str, T], ...]]:
    """Return a parser of a table whose keys are free, such as column names. Raises as `list_of` does."""

    def parse_pairs(value: object) -> tuple[tuple[str, T], ...]:
        if not isinstance(value, dict):
            raise InvalidValueError("must be a table", 'write { column = "..." }')
        pairs: list[tuple[str, T]] = []
        invalid: list[InvalidValueError] = []
        for name, item in value.items():
            try:
                pairs.append((parse_text(name), parse(item)))
            except InvalidValueError as error:
                invalid.append(InvalidValueError(error.reason, error.hint, (name, *error.path)))
        if invalid:
            raise ExceptionGroup("invalid items", invalid)
        return tuple(pairs)

    return parse_pairs


def one_of(*allowed: str) -> Parser[str]:
    """Return a parser of one word of a fixed choice."""

    def parse_word(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidValueError(
                "is not one of the choices", "write one of " + ", ".join(f'"{word}"' for word in allowed)
            )
        return value

    return parse_word


def integer(minimum: int, maximum: int) -> Parser[int]:
    """Return a parser of a whole number in a range, both ends included."""

    def parse_integer(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise InvalidValueError(
                "must be a whole number in range", f"write one from {minimum} to {maximum}, without quotes"
            )
        return value

    return parse_integer


def duration_of_at_least(minimum: str) -> Parser[float]:
    """Return a parser of a duration that is no shorter than this one."""

    def parse_long(value: object) -> float:
        seconds = parse_duration_or_zero(value)
        if seconds < parse_duration(minimum):
            raise InvalidValueError(f"must not be shorter than {minimum}", f'write "{minimum}" or more')
        return seconds

    return parse_long


# Single values


def parse_bool(value: object) -> bool:
    """Parse true or false."""
    if not isinstance(value, bool):
        raise InvalidValueError("must be true or false", "write true or false, without quotes")
    return value


def parse_duration(value: object) -> float:
    """Parse a duration above zero, such as "60s", into seconds."""
    seconds = parse_duration_or_zero(value)
    if not seconds:
        raise InvalidValueError("must be longer than zero", 'write a duration such as "500ms" or "60s"')
    return seconds


def parse_duration_or_zero(value: object) -> float:
    """Parse a duration such as "500ms", "60s", "1.5h" or "0s", into seconds."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError(
            "must be a duration", 'write a number and its unit in quotes: "500ms", "60s", "10m", "1h", "2d"'
        )
    return float(Decimal(match[1]) * SECONDS[match[2]])


def parse_share(value: object) -> float:
    """Parse a share such as "20%", into a number from 0 to 1."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or Decimal(match[1]) > 100:
        raise InvalidValueError("must be a percentage", 'write it in quotes, from "0%" to "100%"')
    return float(Decimal(match[1]) / 100)


def parse_text(value: object) -> str:
    """Parse a string that is not empty and has no control characters."""
    if not isinstance(value, str):
        raise InvalidValueError("must be a string", "put it in quotes")
    if not value or _CONTROL.search(value):
        raise InvalidValueError("must be a non-empty single-line string", "write it on one line, in quotes")
    return value


def parse_query(value: object) -> str:
    """Parse a query of a database, which may have several lines."""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidValueError("must be a string", 'put it in quotes: "...", or of several lines in """..."""')
    return value


def parse_path(value: object) -> Path:
    """Parse the path of a file or folder, as it is written."""
    if not isinstance(value, str) or not value or _CONTROL.search(value):  # such as the tab that \t is in "C:\temp"
        hint = "write it in quotes, absolute or relative to this file's folder; if it has backslashes, in single quotes"
        raise InvalidValueError("must be a path", hint)
    return Path(value)


def parse_state(value: object) -> Path:
    """Parse the path of the state folder. "" is refused with the reason why there is no default."""
    if value == "":
        raise InvalidValueError("has no default, because none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set",
                       'write state = "/var/lib/sidebard" under [server]')  # fmt: skip
    return parse_path(value)


def parse_source(value: object) -> SourceLocation:
    """Parse the path of a file, or an address. Which kinds there are is for `check` of `loader.load` to know."""
    return SourceLocation(str(value), parse_path(value))


def parse_header(value: object) -> str:
    """Parse the name of an HTTP header."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise InvalidValueError(
            "must be the name of an HTTP header", "use letters, digits and hyphens, without a colon"
        )
    return value


def parse_url_path(value: object) -> str:
    """Parse the path of a URL, without query; no client would ever ask for "." or ".." in it (RFC 3986, 5.2.4)."""
    if not isinstance(value, str) or not _URL_PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise InvalidValueError(
            "must be the path of a URL", 'begin with "/", such as "/helpscout", without query or spaces'
        )
    return value


def parse_link(value: object) -> str:
    """Parse a URL pattern, in which {column} stands for the value of that column."""
    if not isinstance(value, str) or not _PLACE.search(value) or not _LINK.fullmatch(_PLACE.sub("x", value)):
        raise InvalidValueError(
            "must be a URL with a {column} in it", 'write, for example, "https://crm.example.com/{id}"'
        )
    return value


def parse_name(value: object) -> str:
    """Parse a short name that can be used in flags, logs and metrics."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidValueError("must be a short name", 'use letters, digits, "-" and "_", at most 64')
    return value


def parse_parameter(value: object) -> str:
    """Parse the name of a parameter of a URL, one that PHP does not rewrite."""
    if not isinstance(value, str) or not _PARAMETER.fullmatch(value):
        raise InvalidValueError(
            "is not the name of a parameter", "write letters, digits, - and _ only, here and in the callback URL"
        )
    return value


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """Parse a network, such as "203.0.113.0/24"; an address alone is a network of one."""
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        pass
    try:
        hint = f'write "{ip_network(value, strict=False)}"' if isinstance(value, str) else ""
    except ValueError:
        hint = ""
    raise InvalidValueError("is not a network", hint or 'write one such as "203.0.113.0/24" or "2001:db8::/32"')


def parse_domain(value: object) -> str:
    """Parse the domain of an address."""
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise InvalidValueError("must be a domain", 'write, for example, "example.com", without "@" or "*"')
    return value


def parse_encoding(value: object) -> str:
    """Parse the name of a text encoding that Python knows."""
    try:
        "".encode(parse_text(value))
    except (LookupError, ValueError):
        raise InvalidValueError("is not a known text encoding", 'write, for example, "utf-8" or "cp1252"') from None
    return str(value)


def parse_zone(value: object) -> tzinfo:
    """Parse an IANA time zone. "UTC" needs no zone files, so that the default works everywhere."""
    if value == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # 2 ms that only those pay who have another zone

    try:
        return ZoneInfo(parse_text(value))
    except (KeyError, ValueError, OSError):  # KeyError: not found; OSError: a folder, such as "Europe"
        raise InvalidValueError(
            "is not a time zone known here", 'write "UTC" or an IANA name such as "Europe/Berlin"'
        ) from None


def parse_pattern(value: object) -> Pattern:
    """Parse an RE2 regular expression. What it finds is its only group, or else the whole match."""
    import re2  # 3 ms that only those pay who have a pattern

    text = parse_text(value)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        pattern: Pattern = re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "?"
        raise InvalidValueError(
            f"is not a valid RE2 regular expression: {reason}", "correct it; in TOML, write it in 'single quotes'"
        ) from None
    if pattern.groups > 1:
        raise InvalidValueError("has more than one group", "write the others as (?:...)")
    return pattern


def shown(value: object) -> str:
    """Return a value as a message may show it: short, on one line, without the items of lists and tables."""
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:60] + "..."
        escaped = short.replace("\\", "\\\\").replace('"', '\\"') if short.isprintable() else ascii(short)[1:-1]
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 64:  # str() of thousands of digits raises
        return "a huge number"
    return "a table" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else str(value)
