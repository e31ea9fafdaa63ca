"""Parsers of single config values.

Each takes what TOML gave and gives a typed value, or raises BadValue with a reason and what to do. None of them opens a
file or looks at the network: that a value can be used is for `sidebard check` and the start to prove.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo

T = TypeVar("T")
Parser = Callable[[object], T]

SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
SQLITE_SUFFIXES: Final = frozenset({".db", ".sqlite", ".sqlite3"})
SOURCE_SUFFIXES: Final = frozenset({".csv", ".tsv"}) | SQLITE_SUFFIXES
# What of a request, besides its customer, a card may depend on.
SIZES: Final = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
LEVELS: Final = ("debug", "info", "warning", "error")

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(0|[1-9][0-9]{0,4})")
_UNIX_PATH_BYTES: Final = 107  # sockaddr_un.sun_path holds 108 with the final zero
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_URL_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")  # RFC 3986, 3.3, without percent encoding
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20\x7f\"'<>\\^`|]+", re.IGNORECASE)
_PATTERN_MEMORY: Final = 1024 * 1024  # bytes that one may take; RE2's own limit is 8 MiB
_PLACE: Final = re.compile(r"\{[^{}]+\}")
_DOMAIN: Final = re.compile(r"[^\s@*/:.]+(?:\.[^\s@*/:.]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CREDENTIAL: Final = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,255}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
        """Give every match in `text`."""
        ...


class BadValue(Exception):
    """A value is not what its key needs.

    `at` says where in the value, when it is a list or table: an index or a key. The text never repeats the value: it
    may be a secret.
    """

    def __init__(self, why: str, todo: str, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.todo = todo
        self.at = at


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a socket listens: an IP address and port (0: any free one), or the absolute path of a Unix socket."""

    host: str
    port: int
    unix: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.unix is not None or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is to be read from, never the secret itself. `path` is set for the kind "file" alone."""

    kind: Literal["file", "credential", "env"]
    name: str
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


# What is made of other parsers


def optional(parse: Parser[T]) -> Parser[T | None]:
    """Give a parser for which "" means off or not given: None."""
    return lambda value: None if value == "" else parse(value)


def or_empty(parse: Parser[str]) -> Parser[str]:
    """Give a parser that lets "" through as it is."""
    return lambda value: "" if value == "" else parse(value)


def list_of(parse: Parser[T], least: int = 0, most: int | None = None, too_many: str = "") -> Parser[tuple[T, ...]]:
    """Give a parser of a list without repetitions. It raises an ExceptionGroup: a BadValue for each bad item."""

    def parse_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise BadValue("must be a list", "put it in brackets: [...]")
        items: list[T] = []
        bad: list[BadValue] = []
        for index, item in enumerate(value):
            try:
                parsed = parse(item)
            except BadValue as error:
                bad.append(BadValue(error.why, error.todo, (index, *error.at)))
                continue
            if parsed in items:
                bad.append(BadValue("is there twice", "remove one", (index,)))
            items.append(parsed)
        if bad:
            raise ExceptionGroup("bad items", bad)
        if len(items) < least:
            raise BadValue(f"needs at least {least}", "add one")
        if most is not None and len(items) > most:
            raise BadValue(f"must have at most {most}, not {len(items)}", too_many)
        return tuple(items)

    return parse_list


def pairs_of(parse: Parser[T]) -> Parser[tuple[tuple[str, T], ...]]:
    """Give a parser of a table whose keys are free, such as column names. Raises as `list_of` does."""

    def parse_pairs(value: object) -> tuple[tuple[str, T], ...]:
        if not isinstance(value, dict):
            raise BadValue("must be a table", 'write { column = "..." }')
        pairs: list[tuple[str, T]] = []
        bad: list[BadValue] = []
        for name, item in value.items():
            try:
                pairs.append((parse_text(name), parse(item)))
            except BadValue as error:
                bad.append(BadValue(error.why, error.todo, (name, *error.at)))
        if bad:
            raise ExceptionGroup("bad items", bad)
        return tuple(pairs)

    return parse_pairs


def one_of(*allowed: str) -> Parser[str]:
    """Give a parser of one word of a fixed choice."""

    def parse_word(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadValue("is not one of the choices", "write one of " + ", ".join(f'"{word}"' for word in allowed))
        return value

    return parse_word


def integer(least: int, most: int) -> Parser[int]:
    """Give a parser of a whole number in a range, both ends included."""

    def parse_integer(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadValue("must be a whole number in range", f"write one from {least} to {most}, without quotes")
        return value

    return parse_integer


# Single values


def parse_bool(value: object) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise BadValue("must be true or false", "write true or false, without quotes")
    return value


def parse_duration(value: object) -> float:
    """Take a duration above zero, such as "60s", and give seconds."""
    seconds = parse_duration_or_zero(value)
    if not seconds:
        raise BadValue("must be longer than zero", 'write a duration such as "500ms" or "60s"')
    return seconds


def parse_duration_or_zero(value: object) -> float:
    """Take a duration such as "500ms", "60s", "1.5h" or "0s", and give seconds."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadValue("must be a duration", 'write a number and its unit in quotes: "500ms", "60s", "10m", "1h", "2d"')
    return float(Decimal(match[1]) * SECONDS[match[2]])


def parse_share(value: object) -> float:
    """Take a share such as "20%", and give a number from 0 to 1."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or Decimal(match[1]) > 100:
        raise BadValue("must be a share", 'write it in quotes, from "0%" to "100%"')
    return float(Decimal(match[1]) / 100)


def parse_text(value: object) -> str:
    """Take text that is not empty and has no control characters."""
    if not isinstance(value, str):
        raise BadValue("must be text", "put it in quotes")
    if not value or _CONTROL.search(value):
        raise BadValue("must be text on one line, not empty", "write its name")
    return value


def parse_path(value: object) -> Path:
    """Take the path of a file or folder, and give it as it is written."""
    if not isinstance(value, str) or not value or _CONTROL.search(value):  # such as the tab that \t is in "C:\temp"
        todo = "write it in quotes, absolute or relative to this file's folder; if it has backslashes, in single quotes"
        raise BadValue("must be a path", todo)
    return Path(value)


def parse_state(value: object) -> Path:
    """Take the path of the state folder. "" is a fault that says why there is no default."""
    if value == "":
        raise BadValue("has no default, for none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set",
                       'write state = "/var/lib/sidebard" under [server]')  # fmt: skip
    return parse_path(value)


def parse_source(value: object) -> Path:
    """Take the path of a CSV or SQLite file."""
    path = parse_path(value)
    if path.suffix.lower() not in SOURCE_SUFFIXES:
        raise BadValue(
            "has none of the endings .csv .tsv .db .sqlite .sqlite3", "name a CSV or SQLite file with one of them"
        )
    return path


def parse_endpoint(value: object) -> Endpoint:
    """Take "ADDR:PORT", "[ADDR6]:PORT" or "unix:/path"."""
    if isinstance(value, str) and value.startswith("unix:"):
        unix = value.removeprefix("unix:")
        if not unix.startswith("/") or "\0" in unix or len(unix.encode("utf-8", "replace")) > _UNIX_PATH_BYTES:
            raise BadValue(
                f"must be an absolute path of at most {_UNIX_PATH_BYTES} bytes", 'write "unix:/run/name.sock"'
            )
        return Endpoint("", 0, Path(unix))
    match = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        host = match[1] or match[2]
        if ipaddress.ip_address(host).version != (6 if match[1] else 4) or int(match[3]) > 65535:
            raise ValueError
    except ValueError:
        todo = 'write "0.0.0.0:443", "[::]:443" or "unix:/path"; localhost is "127.0.0.1"'
        raise BadValue("must be an IP address and a port", todo) from None
    return Endpoint(host, int(match[3]))


def parse_local_endpoint(value: object) -> Endpoint:
    """Take an endpoint that only this machine can reach."""
    endpoint = parse_endpoint(value)
    if not endpoint.is_local:
        raise BadValue("must be a loopback or Unix address", 'write "127.0.0.1:9180" or "unix:/path"')
    return endpoint


def parse_header(value: object) -> str:
    """Take the name of an HTTP header."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise BadValue("must be the name of an HTTP header", "use letters, digits and hyphens, without a colon")
    return value


def parse_url_path(value: object) -> str:
    """Take the path of a URL, without query; no client would ever ask for "." or ".." in it (RFC 3986, 5.2.4)."""
    if not isinstance(value, str) or not _URL_PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise BadValue("must be the path of a URL", 'begin with "/", such as "/helpscout", without query or spaces')
    return value


def parse_link(value: object) -> str:
    """Take a URL pattern, in which {column} stands for the value of that column."""
    if not isinstance(value, str) or not _PLACE.search(value) or not _LINK.fullmatch(_PLACE.sub("x", value)):
        raise BadValue("must be a URL with a {column} in it", 'write, for example, "https://crm.example.com/{id}"')
    return value


def parse_name(value: object) -> str:
    """Take a short name that can stand in flags, logs and metrics."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadValue("must be a short name", 'use letters, digits, "-" and "_", at most 64')
    return value


def parse_domain(value: object) -> str:
    """Take the domain of an address."""
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise BadValue("must be a domain", 'write, for example, "example.com", without "@" or "*"')
    return value


def parse_encoding(value: object) -> str:
    """Take the name of a text encoding that Python knows."""
    try:
        "".encode(parse_text(value))
    except (LookupError, ValueError):
        raise BadValue("is not a known text encoding", 'write, for example, "utf-8" or "cp1252"') from None
    return str(value)


def parse_zone(value: object) -> tzinfo:
    """Take an IANA time zone. "UTC" needs no zone files, so that the default works everywhere."""
    if value == "UTC":
        return UTC
    try:
        return ZoneInfo(parse_text(value))
    except (KeyError, ValueError, OSError):  # KeyError: not found; OSError: a folder, such as "Europe"
        raise BadValue("is no time zone here", 'write "UTC" or an IANA name such as "Europe/Berlin"') from None


def parse_pattern(value: object) -> Pattern:
    """Take a regular expression of RE2's, of which the only group, or else all, is what it finds."""
    import re2  # 3 ms that only those pay who have a pattern

    text = parse_text(value)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        pattern: Pattern = re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "?"
        raise BadValue(
            f"is not a regular expression of RE2's: {reason}", "mend it; in TOML, write it in 'single quotes'"
        ) from None
    if pattern.groups > 1:
        raise BadValue("has more than one group", "write the others as (?:...)")
    return pattern


def parse_secret(value: object) -> SecretSource:
    """Take "file:PATH", "credential:NAME" or "env:NAME"."""
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "file" and name and "\0" not in name:
        return SecretSource("file", name, Path(name))
    if kind == "credential" and _CREDENTIAL.fullmatch(name):
        return SecretSource("credential", name)
    if kind == "env" and _VARIABLE.fullmatch(name):
        return SecretSource("env", name)
    raise BadValue(
        "must say where the secret is", 'write "file:PATH", "credential:NAME" or "env:NAME", never the secret'
    )


def shown(value: object) -> str:
    """Give a value as a message may show it: short, on one line, no lists or tables with whatever is in them."""
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:60] + "..."
        escaped = short.replace("\\", "\\\\").replace('"', '\\"') if short.isprintable() else ascii(short)[1:-1]
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 64:  # str() of thousands of digits raises
        return "a huge number"
    return "a table" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else str(value)
