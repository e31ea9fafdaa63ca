"""The settings: what each key of sidebard.toml is, and the one way to read them.

The dataclasses are the rule table: a field's name is its TOML key, its declaration holds the parser and the default,
which is written as in TOML and passes the same parser. What concerns more than one key is in `_check`.
"""

# ruff: noqa: RUF009  (`setting` and its like are dataclasses.field with a rule)

from __future__ import annotations

import keyword
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path

from appliance.config import values
from appliance.config.reader import (
    MAX_LINES,
    ConfigError,
    Fault,
    Reader,
    line_of,
    lines_of,
    named_sections,
    rules,
    section,
    sections,
    setting,
    syntax_hint,
)
from appliance.config.values import Endpoint, SecretSource

__all__ = [
    "App",
    "ConfigError",
    "Display",
    "Fault",
    "Settings",
    "Subject",
    "from_flags",
    "load",
    "read_text",
    "with_overrides",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """[server]. Durations are seconds."""

    listen: tuple[Endpoint, ...] = setting(values.list_of(values.parse_endpoint, least=1), ["0.0.0.0:443"])
    workers: int = setting(values.integer(0, 64), 0)
    state: Path = setting(values.parse_state, "")
    max_connections: int = setting(values.integer(1, 1_000_000), 1000)
    max_per_source: int = setting(values.integer(1, 1_000_000), 100)
    handshake_timeout: float = setting(values.parse_duration, "10s")
    header_timeout: float = setting(values.parse_duration, "10s")
    body_timeout: float = setting(values.parse_duration, "10s")
    idle_timeout: float = setting(values.parse_duration, "10s")
    write_timeout: float = setting(values.parse_duration, "15s")
    drain: float = setting(values.parse_duration_or_zero, "10s")
    timezone: tzinfo = setting(values.parse_zone, "UTC")
    user: str = setting(values.or_empty(values.parse_text), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePair:
    """[[tls.more]]: one more certificate, with its key, chosen by the name that the client asks for."""

    certificate: Path = setting(values.parse_path, example='"fullchain.pem"')
    key: Path = setting(values.parse_path, example='"privkey.pem"')

    def __iter__(self) -> Iterator[Path]:
        return iter((self.certificate, self.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """[tls]. `certificate` and `key` are both None or both given."""

    enabled: bool = setting(values.parse_bool, True)
    certificate: Path | None = setting(values.optional(values.parse_path), "")
    key: Path | None = setting(values.optional(values.parse_path), "")
    more: tuple[CertificatePair, ...] = sections(CertificatePair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """[customers]. Durations are seconds, shares 0 to 1."""

    source: Path = setting(values.parse_source, example='"customers.csv"')
    table: str = setting(values.parse_text, "customers")
    addresses: tuple[str, ...] = setting(values.list_of(values.parse_text, least=1), example='["email"]')
    refresh: float = setting(values.parse_duration, "60s")
    max_shrink: float = setting(values.parse_share, "20%")
    max_bad_rows: float = setting(values.parse_share, "1%")
    max_age: float | None = setting(values.optional(values.parse_duration), "")
    encoding: str = setting(values.or_empty(values.parse_encoding), "")
    ready_file: Path | None = setting(values.optional(values.parse_path), "")
    checksum_file: Path | None = setting(values.optional(values.parse_path), "")
    ignore_domains: tuple[str, ...] = setting(values.list_of(values.parse_domain), [])
    plus_addressing: bool = setting(values.parse_bool, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """[related.NAME]: rows whose column `key` equals the customers' column `on`. `order_by` may begin with "-"."""

    name: str
    source: Path = setting(values.parse_source, example='"orders.csv"')
    table: str = setting(values.or_empty(values.parse_text), "")
    key: str = setting(values.parse_text, example='"customer_id"')
    on: str = setting(values.parse_text, example='"id"')
    order_by: str = setting(values.or_empty(values.parse_text), "")
    limit: int = setting(values.integer(1, 1000), 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """[cache]. A size or duration (seconds) of 0 turns that cache off."""

    size: int = setting(values.integer(0, 10_000_000), 10000)
    ttl: float = setting(values.parse_duration_or_zero, "60s")
    unknown_size: int = setting(values.integer(0, 10_000_000), 10000)
    unknown_ttl: float = setting(values.parse_duration_or_zero, "10s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """[log]."""

    requests: bool = setting(values.parse_bool, True)
    level: str = setting(values.one_of(*values.LEVELS), "info")
    trail: Path | None = setting(values.optional(values.parse_path), "")
    trail_addresses: bool = setting(values.parse_bool, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """[admin]. None: no admin pages."""

    listen: Endpoint | None = setting(values.optional(values.parse_local_endpoint), "127.0.0.1:9180")


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """[app.display]: how the built-in card shows columns. In a link's URL, {column} stands for that column's value.

    A name is a column of the customers, a related table, or a column of one, as in "orders.total".
    """

    columns: tuple[str, ...] = setting(values.list_of(values.parse_text), [])
    titles: tuple[tuple[str, str], ...] = setting(values.pairs_of(values.parse_text), {})
    links: tuple[tuple[str, str], ...] = setting(values.pairs_of(values.parse_link), {})
    url_column: str = setting(values.or_empty(values.parse_text), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """[[app.subject]]: what the pattern finds in a subject (its group, or else all) is looked up in `column`.

    That is a column of the customers, or of a related table, as in "orders.order_id".
    """

    pattern: values.Pattern = setting(values.parse_pattern, example="'order #([0-9]+)'")
    column: str = setting(values.parse_text, example='"order_number"')


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """[[app]]. `file` and `index` say where it is declared, for messages; `file` is None when flags said it all."""

    name: str = setting(values.parse_name, "helpscout")
    path: str = setting(values.parse_url_path, "/helpscout")
    secrets: tuple[SecretSource, ...] = setting(
        values.list_of(values.parse_secret, 1, 2, "two are for the time in which one replaces the other"),
        example='["file:secret"]',
    )
    protocol: str = setting(values.parse_name, "helpscout")
    signature_header: str = setting(values.or_empty(values.parse_header), "")
    card: Path | None = setting(values.optional(values.parse_path), "")
    vary: tuple[str, ...] = setting(values.list_of(values.parse_text), [])
    display: Display = section(Display)
    subject: tuple[Subject, ...] = sections(Subject)
    file: Path | None = field(default=None, compare=False)
    index: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a config file says. `file` is None when there is none. Every path is absolute."""

    file: Path | None = None
    server: Server = section(Server)
    tls: Tls = section(Tls)
    customers: Customers = section(Customers)
    related: tuple[Related, ...] = named_sections(Related)
    cache: Cache = section(Cache)
    log: Log = section(Log)
    admin: Admin = section(Admin)
    apps: tuple[App, ...] = sections(App, example='[[app]] with secrets = ["file:secret"]')


Check = Callable[["Settings", Reader], None]
"""Tells the reader what is wrong with settings by rules of another room; they may have holes, which hold None."""


def load(file: Path, environ: Mapping[str, str], checks: Sequence[Check] = ()) -> Settings:
    """Read a config file. `environ` names the state folder, where the file does not. Opens nothing that it names.

    Raises ConfigError with every fault, and never another exception, whatever the file holds.
    """
    text = ""
    try:
        text = read_text(file)
        tree = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError([_file_fault(file, error, text)]) from None
    settings, reader = _settle(tree, file.absolute().parent, environ, file.absolute(), checks)
    if reader.faults:
        lines = lines_of(text)
        placed = [replace(fault, file=file, line=line_of(lines, path)) for path, fault in reader.faults]
        raise ConfigError(sorted(placed, key=lambda fault: fault.line or MAX_LINES + 1))
    return settings


def from_flags(customers: Path, secret_file: Path, environ: Mapping[str, str], cwd: Path) -> Settings:
    """Give the settings of `serve --customers FILE --secret-file FILE`: for the rest, the defaults.

    Raises ConfigError.
    """
    tree = {
        "customers": {"source": str(customers), "addresses": ["email"]},
        "app": [{"secrets": [f"file:{secret_file}"]}],
    }
    settings, reader = _settle(tree, cwd.absolute(), environ, None)
    if reader.faults:
        flags = {"customers": "--customers", "app": "--secret-file"}
        raise ConfigError(replace(fault, key=flags.get(str(path[0]), fault.key)) for path, fault in reader.faults)
    return settings


def with_overrides(settings: Settings, listen: Sequence[str] | None, workers: int | None) -> Settings:
    """Give the settings with the values of `--listen` and `--workers` in their place; None or no `listen` changes none.

    Raises ConfigError with the flag as the key.
    """
    reader = Reader(Path())
    given: dict[str, object] = {"listen": list(listen or ()) or None, "workers": workers}
    changes = {
        name: reader.read(rules(Server)[name][1], value, (f"--{name}",))
        for name, value in given.items()
        if value is not None
    }
    if not reader.faults:
        settings = replace(settings, server=replace(settings.server, **changes))
        _check(settings, reader)
        # The file was good, so what is wrong now came with the flag: the one check that looks at it is TLS being off.
        why = "must be a loopback or Unix address, because tls.enabled is false"
        reader.faults = [(path, replace(fault, key="--listen", why=why)) for path, fault in reader.faults]
    if reader.faults:
        raise ConfigError(fault for _, fault in reader.faults)
    return settings


def _settle(
    tree: Mapping[str, object],
    folder: Path,
    environ: Mapping[str, str],
    file: Path | None,
    checks: Sequence[Check] = (),
) -> tuple[Settings, Reader]:
    """Decode, fill in what hangs on other keys or on the environment, and check across sections."""
    server = tree.get("server", {})
    if isinstance(server, dict) and server.get("state", "") == "":
        tree = {**tree, "server": {**server, "state": _default_state(environ, server.get("user"))}}
    reader = Reader(folder, Settings)
    settings = reader.decode(Settings, tree, ())
    settings = replace(
        settings,
        file=file,
        related=tuple(replace(each, table=each.table or each.name) for each in settings.related),
        apps=tuple(replace(app, file=file, index=index) for index, app in enumerate(settings.apps)),
    )
    _check(settings, reader)
    for check in checks:
        check(settings, reader)
    return settings, reader


def _check(settings: Settings, reader: Reader) -> None:
    """Check what concerns more than one key."""
    server, tls, fault, clean = settings.server, settings.tls, reader.fault, reader.clean
    if clean(("server", "listen"), ("tls", "enabled")) and not tls.enabled:
        for endpoint in server.listen:
            if not endpoint.is_local:
                fault(
                    ("tls", "enabled"),
                    f"must be true, because {endpoint} can be reached from outside",
                    'listen on "127.0.0.1:8080" or "unix:/path", behind a proxy of your own, or leave TLS on',
                )
    if clean(("tls", "certificate"), ("tls", "key")) and (tls.certificate is None) != (tls.key is None):
        given, other = ("key", "certificate") if tls.certificate is None else ("certificate", "key")
        fault(("tls", given), f"is given without tls.{other}", f"add {other} under [tls], or remove both")
    customers = settings.customers
    columns = {"addresses": customers.addresses or (), "on": tuple(each.on for each in settings.related if each.on)}
    seen: dict[str, str] = {}
    for each in settings.related:
        path, name = ("related", each.name), each.name.lower()
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
            fault(path, "must be a name that a card can use", "use letters, digits and _, such as [related.orders]")
        for what in (key for key, names in columns.items() if name in map(str.lower, names)):
            fault(path, f"is also a column of the customers, by {what}", "give the table another name")
        if seen.setdefault(name, each.name) != each.name:
            fault(path, f"is related.{seen[name]} in another case", "give one of them another name")
    for what in ("name", "path"):
        first: dict[str, int] = {}
        for index, app in enumerate(settings.apps):
            value: str | None = getattr(app, what)  # None: a hole
            if value is not None and first.setdefault(value, index) != index:
                todo = f"give each [[app]] a {what} of its own"
                fault(("app", index, what), f"is that of app[{first[value]}] too", todo, values.shown(value))


def _default_state(environ: Mapping[str, str], user: object) -> str:
    """Return the state folder's default, or "" when the environment names none."""
    if first := environ.get("STATE_DIRECTORY", "").split(":")[0]:  # systemd names one for each StateDirectory=
        return first
    if user:  # HOME is root's then, which this user cannot enter
        return "/var/lib/sidebard"
    for variable, below in (("XDG_STATE_HOME", "sidebard"), ("HOME", ".local/state/sidebard")):
        if (base := environ.get(variable, "")).startswith("/"):  # the XDG specification: a relative one is ignored
            return os.path.join(base, below)
    return ""


def read_text(file: Path) -> str:
    """Read a file in UTF-8. Raises OSError and UnicodeDecodeError."""
    return file.read_bytes().decode("utf-8-sig")  # Windows editors begin a file with a byte order mark


def _file_fault(file: Path, error: Exception, text: str) -> Fault:
    """Say why a file with this text gives no TOML."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return Fault(file, line, "", "is not UTF-8", None, "save the file in the encoding UTF-8")
    if isinstance(error, OSError):
        todo = {
            FileNotFoundError: "put the file there, or name another with --config",
            IsADirectoryError: "name the file in it with --config",
            PermissionError: "let the user that runs sidebard read it, for example with chgrp sidebard and chmod 0640",
        }.get(type(error), "name a file that can be read with --config")
        return Fault(file, None, "", f"cannot be read: {error.strerror}", None, todo)
    if not isinstance(error, tomllib.TOMLDecodeError):  # brackets thousands deep, an endless number, a path with NUL
        return Fault(file, None, "", "is not a config file", None, "name another with --config")
    message = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    why = f"not TOML: {message[: place.start()]}, column {place[2]}" if place else f"not TOML: {message}"
    number = int(place[1]) if place else None
    hint = syntax_hint(message, text.split("\n")[number - 1] if number else "")
    return Fault(file, number, "", why, None, hint)
