"""The settings: what each key of sidebard.toml is.

The dataclasses are the rule table: a field's name is its TOML key, its declaration holds the parser and the default,
which is written as in TOML and passes the same parser. `loader` reads a file by them.
"""

# ruff: noqa: RUF009  (`value` and its like are dataclasses.field with a rule)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from appliance.config import values
from appliance.config.acme import Acme
from appliance.config.endpoint import Endpoint, parse_endpoint, parse_local_endpoint
from appliance.config.platform import HelpScout, Page
from appliance.config.reader import array, optional_table, table, tables, value
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
    proxy_protocol_from: tuple[IPv4Network | IPv6Network, ...] = value(values.list_of(values.parse_network), [])


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
    changed: str = value(values.parse_query, "")
    addresses: tuple[str, ...] = value(values.list_of(values.parse_text, minimum=1), example='["email"]')
    refresh: float | None = value(values.optional(values.parse_duration), "")
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
    """[related.NAME]: rows whose column `key` equals the customers' column `on`. `order_by` may begin with "-".

    No `source` is that of the customers.
    """

    name: str
    source: SourceLocation | None = value(values.optional(values.parse_source), "")
    table: str = value(values.or_empty(values.parse_text), "")
    query: str = value(values.parse_query, "")
    password: SecretSource | None = value(values.optional(parse_secret), "")
    tls: str = value(values.or_empty(values.one_of("verify", "encrypt", "off")), "")
    ca: Path | None = value(values.optional(values.parse_path), "")
    timeout: float | None = value(values.optional(values.parse_duration), "")
    changed: str = value(values.parse_query, "")
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
    hash_key: SecretSource | None = value(values.optional(parse_secret), "")


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
    acme: Acme = table(Acme)
    customers: Customers = table(Customers)
    related: tuple[Related, ...] = tables(Related)
    cache: Cache = table(Cache)
    log: Log = table(Log)
    admin: Admin = table(Admin)
    helpscout: HelpScout = table(HelpScout)
    apps: tuple[App, ...] = array(App, example='[[app]] with secrets = ["file:secret"]')

    @property
    def is_trial(self) -> bool:
        """Whether there is no config, and only this machine can reach it: a first look, that needs no advice."""
        return self.file is None and all(endpoint.is_local for endpoint in self.server.listen)
