"""What is common to tables of database servers: how they are named, and how they are fetched.

    "postgresql://reader@db/shop" + query  --parse-->  DatabaseTable  --fetch-->  a CSV file  --import-->  as any file

A `DatabaseTable` is a frozen value without a connection or a password. All tables with an equal `Server` are fetched
together, in one transaction, so that customers and their orders are of one moment. Only the process that fetches
imports a driver and connects; nothing asks the database when a request comes.

A password is never in an address, in a message or in a fingerprint: the config names where it is, and it is read when
it is needed, so that a new one works without a restart.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

from appliance.ingest.sources.base import SourceError, SourceSettingError
from appliance.ingest.sources.remote import Fetched, Inspection, RemoteSource

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for connecting, with TLS and authentication."""

STALL: Final = 30.0
"""Seconds without a byte, once some have come, after which a fetch ends: the network has dropped the connection."""

_GRACE: Final = 10.0
"""Seconds more than a fetch may take, after which its process is killed."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_SOCKET: Final = "host"
"""A parameter of an address: the folder of the server's Unix socket, as libpq has it, or the socket."""

_TARGET: Final = "target_session_attrs"
"""Another one: which of several hosts is wanted, as libpq has it."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A database of a server, and as whom it is asked. `host` is the path of a Unix socket if it begins with /."""

    scheme: str
    host: str
    port: int
    user: str
    database: str
    tls: str
    ca: Path | None = None
    password: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Reads it; raises SourceError if it cannot be read."""

    timeout: float = 60.0
    """Seconds for all queries together."""

    encoding: str = ""
    """What text is in, where the server does not know; "" where it does."""

    changed: str = ""
    """A statement whose rows differ whenever those of any table do; "" without one."""

    target: str = ""
    """Which of several hosts, separated by commas, is wanted, such as "prefer-standby"; "" for the first."""

    section: str = field(default="customers", compare=False)
    """The table of the config that says how to reach it, for messages."""

    def __str__(self) -> str:
        """The address, as in the config: with the user, without a password."""
        user, database = quote(self.user), quote(self.database)
        if self.is_socket:
            port = f":{self.port}" if self.port else ""
            return f"{self.scheme}://{user}@/{database}?{_SOCKET}={quote(self.host)}{port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        target = f"?{_TARGET}={self.target}" if self.target else ""
        return f"{self.scheme}://{user}@{host}:{self.port}/{database}{target}"

    @property
    def is_socket(self) -> bool:
        """Whether it is reached by a Unix socket."""
        return self.host.startswith("/")

    @property
    def is_near(self) -> bool:
        """Whether it is on this machine."""
        return self.is_socket or self.host in _LOOPBACK

    def read_password(self) -> str:
        """Return the password; "" without one. Raises SourceError."""
        return self.password() if self.password is not None else ""

    def tls_context(self) -> ssl.SSLContext | None:
        """Return how to encrypt, None if not at all. Raises SourceError if the authorities cannot be read."""
        if self.tls == "off":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise SourceError(f"{self.ca} holds no certificates; name a PEM file in {self.section}.ca") from None
        except OSError as error:
            raise SourceError(f"{self.ca} cannot be read: {error.strerror}; correct {self.section}.ca") from None
        if self.tls == "encrypt":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def parse_server(
    address: str, *, default_port: int, tls: str, ca: Path | None, timeout: float, encoding: str,
    password: Callable[[], str] | None, changed: str = "", section: str = "customers", targets: Sequence[str] = (),
) -> Server:  # fmt: skip
    """Return the server that an address names; `targets` are which of several hosts may be wanted.

    Raises SourceSettingError, which never holds a password.
    """
    form = f'write "{address.partition(":")[0]}://USER@HOST/DATABASE"'
    try:
        parts = urlsplit(address)
        host, port, parameters = (
            parts.hostname or "",
            parts.port,
            parse_qs(parts.query, strict_parsing=bool(parts.query)),
        )
    except ValueError:
        raise SourceSettingError("source", "is not the address of a database", form) from None
    if parts.password is not None:
        hint = 'remove it, and set password = "file:PATH", "credential:NAME" or "env:NAME"'
        raise SourceSettingError("source", "must not hold a password", hint)
    if parts.fragment or set(parameters) - {_SOCKET, *([_TARGET] if targets else [])}:
        raise SourceSettingError("source", "has more than user, host and database", f"{form}; TLS is set by tls and ca")
    if folder := parameters.get(_SOCKET, [""])[0]:
        host, port = _socket(parts.scheme, host, folder, port)
    if "," in host and not targets:
        raise SourceSettingError("source", "names several hosts", f"{form}; only PostgreSQL allows several")
    target = parameters.get(_TARGET, [""])[0]
    if target and target not in targets:
        raise SourceSettingError("source", f"has an unknown {_TARGET}", f"write one of {', '.join(targets)}")
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    for part, text in (("user", user), ("host", host), ("database", database)):
        if not text:
            raise SourceSettingError("source", f"names no {part}", form)
    is_near = host.startswith("/") or host in _LOOPBACK
    return Server(
        scheme=parts.scheme, host=host, port=port or default_port, user=user, database=database,
        tls="off" if host.startswith("/") else tls or ("off" if is_near else "verify"),
        ca=ca, timeout=timeout, encoding=encoding, password=password, changed=_statement(changed), section=section,
        target=target,
    )  # fmt: skip


def _statement(text: str) -> str:
    """Return one statement, without semicolons at its end; "" if it is empty.

    It ends with a line end: behind a comment at its end, what follows would be part of the comment.
    """
    statement = text.strip().rstrip(";").strip()
    return f"{statement}\n" if statement else ""


def _socket(scheme: str, host: str, folder: str, port: int | None) -> tuple[str, int | None]:
    """Return the folder of the server's socket, and the port that is part of its name."""
    folder, _, number = folder.partition(":")
    if host or not folder.startswith("/") or (number and not (number.isascii() and number.isdigit())):
        hint = f'write "{scheme}://USER@/DATABASE?{_SOCKET}=/PATH"'
        raise SourceSettingError("source", "does not name a Unix socket", hint)
    return folder, int(number) if number else port


@dataclass(frozen=True)
class Query:
    """What is asked for one table: its `section` of the config, for messages, and the statement."""

    section: str
    statement: str
    stop_at: str = ""
    """If the rows have this SHA-256, the queries behind it are not run."""

    @classmethod
    def parse(cls, section: str, query: str, table: str, quote_name: Callable[[str], str]) -> Query:
        """Return the query that a section has, or all of its `table`. Raises SourceSettingError."""
        statement = _statement(query)
        if not statement and not table:
            raise SourceSettingError("query", "is missing", 'write query = "SELECT ..." or table = "..."')
        if not statement:
            statement = f"SELECT * FROM {'.'.join(map(quote_name, table.split('.')))}\n"
        return cls(section, statement)


Driver = Callable[[Server, Sequence[Query], Sequence[Path]], tuple[Fetched, ...]]
"""Writes what each query returns into its file, all of one moment; ends behind a query whose rows are those of its
`stop_at`. Raises SourceError, and OSError of the files."""


Inspector = Callable[[Server, Sequence[Query], Sequence[Path], int], Inspection]
"""Says what a fetch of these queries would need: whether each is valid, its columns, what this user lacks, and whether
the user may do more than read. Writes the first rows of each query into its file. Raises SourceError and OSError."""


@dataclass(frozen=True)
class DatabaseTable(RemoteSource):
    """The rows that a query of a database returns."""

    server: Server
    query: Query
    driver: Driver
    inspector: Inspector | None = None

    def describe(self) -> str:
        """Return the server's address, and the section of the config that has the query."""
        return f"{self.server} ({self.query.section})"

    @property
    def section(self) -> str:
        """Its table in the config."""
        return self.query.section

    @property
    def name(self) -> str:
        """The database, without its address."""
        return f"{self.server.database} ({self.query.section})"

    def identity(self) -> tuple[str, ...]:
        """Return what decides which rows these are: the server, and the query."""
        return (str(self.server), self.query.statement, self.server.encoding)

    def login(self) -> str:
        """Return a digest of the password; "" if it cannot be read."""
        try:
            return hashlib.sha256(self.server.read_password().encode()).hexdigest()
        except SourceError:
            return ""

    @property
    def group(self) -> Server:
        """The server."""
        return self.server

    @property
    def timeout(self) -> float:
        """Return when a fetch is ended from outside: later than it should end by itself."""
        return CONNECT_TIMEOUT + self.server.timeout + _GRACE

    @property
    def encoding(self) -> str:
        """What text is in."""
        return self.server.encoding

    def fetch(
        self, group: Sequence[RemoteSource], files: Sequence[Path], known: Sequence[Fetched] = ()
    ) -> tuple[Fetched, ...]:
        """Fetch the tables of one server. Raises SourceError, and OSError of the files."""
        queries = _queries(group)
        if not self.server.changed:
            return self.driver(self.server, queries, files)
        marks = {each.mark for each in known}
        changed = self._changed(marks.pop() if len(marks) == 1 else "")
        mark, *fetched = self.driver(self.server, [changed, *queries], [_beside(files), *files])
        if not fetched:
            return tuple(known)
        return tuple(msgspec.structs.replace(each, mark=mark.sha256) for each in fetched)

    def inspect(self, group: Sequence[RemoteSource], files: Sequence[Path], rows: int) -> Inspection:
        """Inspect the tables of one server, and what it is asked for changes. Raises SourceError and OSError."""
        if self.inspector is None:
            return super().inspect(group, files, rows)
        queries = _queries(group)
        if not self.server.changed:
            return self.inspector(self.server, queries, files, rows)
        found = self.inspector(self.server, [self._changed(), *queries], [_beside(files), *files], rows)
        return Inspection(found.remarks, found.fetched[1:])

    def _changed(self, mark: str = "") -> Query:
        """Return what is asked first, in the same transaction; data that changes later is not fetched either."""
        return Query(f"{self.server.section}.changed", self.server.changed, mark)


def _queries(group: Sequence[RemoteSource]) -> list[Query]:
    return [table.query for table in group if isinstance(table, DatabaseTable)]


def _beside(files: Sequence[Path]) -> Path:
    """Return a file for what `changed` returns."""
    return files[0].with_name(f"changed-{files[0].name}")
