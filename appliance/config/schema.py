"""The settings: what each key of sidebard.toml is, and the one way to read them.

The dataclasses are the rule table: a field's name is its TOML key, its declaration holds the parser and the default,
which is written as in TOML and passes the same parser. What concerns more than one key is in `_check`.
"""

# ruff: noqa: RUF009  (`value` and its like are dataclasses.field with a rule)

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
from appliance.config.endpoint import Endpoint, parse_endpoint, parse_local_endpoint
from appliance.config.lines import syntax_hint
from appliance.config.platform import HelpScout, Page
from appliance.config.reader import (
    ConfigError,
    Fault,
    Reader,
    array,
    locate,
    optional_table,
    rules,
    table,
    tables,
    value,
)
from appliance.config.secret_source import SecretSource, parse_secret
from appliance.config.values import SourceLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The part of [server] that limits clients. Each duration, in seconds, is a total deadline.

    `max_per_source` is how many connections one address may have. None, which no file says, is any number: on loopback
    and Unix sockets every client has the same address.
    """

    max_connections: int = value(values.integer(1, 1_000_000), 1000)
    max_per_source: int | None = value(values.integer(1, 1_000_000), 100)
    handshake_timeout: float = value(values.parse_duration, "10s")
    header_timeout: float = value(values.parse_duration, "10s")
    body_timeout: float = value(values.parse_duration, "10s")
    idle_timeout: float = value(values.parse_duration, "10s")
    write_timeout: float = value(values.parse_duration, "15s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(Limits):
    """[server]. Durations are seconds."""

    listen: tuple[Endpoint, ...] = value(values.list_of(parse_endpoint, minimum=1), ["0.0.0.0:443"])
    workers: int = value(values.integer(0, 64), 0)
    state: Path = value(values.parse_state, "")
    drain: float = value(values.parse_duration_or_zero, "10s")
    timezone: tzinfo = value(values.parse_zone, "UTC")
    user: str = value(values.or_empty(values.parse_text), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePair:
    """[[tls.more]]: one more certificate, with its key, chosen by the name that the client asks for."""

    certificate: Path = value(values.parse_path, example='"fullchain.pem"')
    key: Path = value(values.parse_path, example='"privkey.pem"')

    def __iter__(self) -> Iterator[Path]:
        return iter((self.certificate, self.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """[tls]. `certificate` and `key` are both None or both given."""

    enabled: bool = value(values.parse_bool, True)
    certificate: Path | None = value(values.optional(values.parse_path), "")
    key: Path | None = value(values.optional(values.parse_path), "")
    more: tuple[CertificatePair, ...] = array(CertificatePair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """[customers]. Durations are seconds, shares 0 to 1."""

    source: SourceLocation = value(values.parse_source, example='"customers.csv"')
    table: str = value(values.parse_text, "customers")
    query: str = value(values.parse_query, "")
    password: SecretSource | None = value(values.optional(parse_secret), "")
    tls: str = value(values.or_empty(values.one_of("verify", "encrypt", "off")), "")
    ca: Path | None = value(values.optional(values.parse_path), "")
    timeout: float = value(values.parse_duration, "60s")
    addresses: tuple[str, ...] = value(values.list_of(values.parse_text, minimum=1), example='["email"]')
    refresh: float = value(values.parse_duration, "60s")
    max_shrink: float = value(values.parse_share, "20%")
    max_bad_rows: float = value(values.parse_share, "1%")
    max_age: float | None = value(values.optional(values.parse_duration), "")
    encoding: str = value(values.or_empty(values.parse_encoding), "")
    skip_lines: int = value(values.integer(0, 1000), 0)
    unterminated_last_line: str = value(values.one_of("refuse", "accept"), "refuse")
    null_values: tuple[str, ...] = value(values.list_of(values.parse_text), [])
    ready_file: Path | None = value(values.optional(values.parse_path), "")
    checksum_file: Path | None = value(values.optional(values.parse_path), "")
    ignore_domains: tuple[str, ...] = value(values.list_of(values.parse_domain), [])
    plus_addressing: bool = value(values.parse_bool, False)
    gmail_dots: bool = value(values.parse_bool, False)
    company_domain: str = value(values.or_empty(values.parse_text), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """[related.NAME]: rows whose column `key` equals the customers' column `on`. `order_by` may begin with "-"."""

    name: str
    source: SourceLocation = value(values.parse_source, example='"orders.csv"')
    table: str = value(values.or_empty(values.parse_text), "")
    query: str = value(values.parse_query, "")
    key: str = value(values.parse_text, example='"customer_id"')
    on: str = value(values.parse_text, example='"id"')
    order_by: str = value(values.or_empty(values.parse_text), "")
    limit: int = value(values.integer(1, 1000), 10)
    skip_lines: int = value(values.integer(0, 1000), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """[cache]. A size or duration (seconds) of 0 turns that cache off."""

    size: int = value(values.integer(0, 10_000_000), 10000)
    ttl: float = value(values.parse_duration_or_zero, "60s")
    unknown_size: int = value(values.integer(0, 10_000_000), 10000)
    unknown_ttl: float = value(values.parse_duration_or_zero, "10s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """[log]."""

    requests: bool = value(values.parse_bool, True)
    level: str = value(values.one_of(*values.LEVELS), "info")
    trail: Path | None = value(values.optional(values.parse_path), "")
    trail_addresses: bool = value(values.parse_bool, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """[admin]. None: no admin pages."""

    listen: Endpoint | None = value(values.optional(parse_local_endpoint), "127.0.0.1:9180")


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """[app.display]: how the built-in card shows columns. In a link's URL, {column} stands for that column's value.

    A name is a column of the customers, a related table, or a column of one, as in "orders.total".
    """

    columns: tuple[str, ...] = value(values.list_of(values.parse_text), [])
    titles: tuple[tuple[str, str], ...] = value(values.pairs_of(values.parse_text), {})
    links: tuple[tuple[str, str], ...] = value(values.pairs_of(values.parse_link), {})
    url_column: str = value(values.or_empty(values.parse_text), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """[[app.subject]]: what the pattern finds in a subject (its group, or else all) is looked up in `column`.

    That is a column of the customers, or of a related table, as in "orders.order_id".
    """

    pattern: values.Pattern = value(values.parse_pattern, example="'order #([0-9]+)'")
    column: str = value(values.parse_text, example='"order_number"')


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """[[app]]. `file` and `index` say where it is declared, for messages; `file` is None when flags said it all."""

    name: str = value(values.parse_name, "helpscout")
    path: str = value(values.parse_url_path, "/helpscout")
    secrets: tuple[SecretSource, ...] = value(
        values.list_of(parse_secret, 1, 2, "two are for the time in which one replaces the other"),
        example='["file:secret"]',
    )
    protocol: str = value(values.parse_name, "helpscout")
    signature_header: str = value(values.or_empty(values.parse_header), "")
    card: Path | None = value(values.optional(values.parse_path), "")
    vary: tuple[str, ...] = value(values.list_of(values.parse_text), [])
    display: Display = table(Display)
    subject: tuple[Subject, ...] = array(Subject)
    page: Page | None = optional_table(Page)
    file: Path | None = field(default=None, compare=False)
    index: int = field(default=0, compare=False)

    @property
    def all_secrets(self) -> tuple[SecretSource, ...]:
        """Those of the app, of its page and of its webhooks, each once."""
        of_page = (*self.page.secrets, *self.page.webhook_secrets) if self.page is not None else ()
        return tuple(dict.fromkeys((*self.secrets, *of_page)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a config file says. `file` is None when there is none. Every path is absolute."""

    file: Path | None = None
    server: Server = table(Server)
    tls: Tls = table(Tls)
    customers: Customers = table(Customers)
    related: tuple[Related, ...] = tables(Related)
    cache: Cache = table(Cache)
    log: Log = table(Log)
    admin: Admin = table(Admin)
    helpscout: HelpScout = table(HelpScout)
    apps: tuple[App, ...] = array(App, example='[[app]] with secrets = ["file:secret"]')


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
    settings, reader = _resolve(tree, file.absolute().parent, environ, file.absolute(), checks)
    if reader.faults:
        located = locate(reader.faults, file, text)
        raise ConfigError(sorted(located, key=lambda fault: (fault.line is None, fault.line or 0)))
    return settings


def from_flags(
    customers: Path, secret_file: Path, environ: Mapping[str, str], cwd: Path, checks: Sequence[Check] = ()
) -> Settings:
    """Return the settings of `serve --customers FILE --secret-file FILE`: for the rest, the defaults.

    Raises ConfigError.
    """
    tree = {
        "customers": {"source": str(customers), "addresses": ["email"]},
        "app": [{"secrets": [f"file:{secret_file}"]}],
    }
    settings, reader = _resolve(tree, cwd.absolute(), environ, None, checks)
    if reader.faults:
        flags = {"customers": "--customers", "app": "--secret-file"}
        raise ConfigError(replace(fault, key=flags.get(str(path[0]), fault.key)) for path, fault in reader.faults)
    return settings


def with_overrides(settings: Settings, listen: Sequence[str] | None, workers: int | None) -> Settings:
    """Return the settings with the values of `--listen` and `--workers` in place of theirs; None or no `listen`: as is.

    Raises ConfigError with the flag as the key.
    """
    reader = Reader(Path())
    given: dict[str, object] = {"listen": list(listen or ()) or None, "workers": workers}
    changes = {
        name: reader.read(rules(Server)[name][1], found, (f"--{name}",))
        for name, found in given.items()
        if found is not None
    }
    if not reader.faults:
        settings = replace(settings, server=replace(settings.server, **changes))
        _check(settings, reader)
        # The file was good, so what is wrong now came with the flag: the one check that looks at it is TLS being off.
        reason = "must be a loopback address or Unix socket, because tls.enabled is false"
        reader.faults = [(path, replace(fault, key="--listen", reason=reason)) for path, fault in reader.faults]
    if reader.faults:
        raise ConfigError(fault for _, fault in reader.faults)
    return settings


def _resolve(
    tree: Mapping[str, object],
    folder: Path,
    environ: Mapping[str, str],
    file: Path | None,
    checks: Sequence[Check] = (),
) -> tuple[Settings, Reader]:
    """Decode, fill in what depends on other keys or on the environment, and check across tables."""
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
            fault(path, f"is also a column of the customers, named by {what}", "give the table another name")
        if seen.setdefault(name, each.name) != each.name:
            fault(path, f"differs from related.{seen[name]} in case only", "give one of them another name")
    for what in ("name", "path"):
        first: dict[str, int] = {}
        for index, app in enumerate(settings.apps):
            own: str | None = getattr(app, what)  # None: a hole
            if own is not None and first.setdefault(own, index) != index:
                hint = f"give each [[app]] a {what} of its own"
                fault(("app", index, what), f"is also that of app[{first[own]}]", hint, values.shown(own))


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
    """Return why a file with this text is not TOML."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return Fault(file, line, "", "is not UTF-8", None, "save the file as UTF-8")
    if isinstance(error, OSError):
        hint = {
            FileNotFoundError: "put the file there, or name another with --config",
            IsADirectoryError: "name a file in that folder with --config",
            PermissionError: "let the user that runs sidebard read it, for example with chgrp sidebard and chmod 0640",
        }.get(type(error), "name a file that can be read with --config")
        return Fault(file, None, "", f"cannot be read: {error.strerror}", None, hint)
    if not isinstance(error, tomllib.TOMLDecodeError):  # brackets thousands deep, an endless number, a path with NUL
        return Fault(file, None, "", "is not a config file", None, "name another with --config")
    message = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    reason = f"not valid TOML: {message[: place.start()]}, column {place[2]}" if place else f"not valid TOML: {message}"
    number = int(place[1]) if place else None
    hint = syntax_hint(message, text.split("\n")[number - 1] if number else "")
    return Fault(file, number, "", reason, None, hint)
