"""A transaction in MySQL or MariaDB: how to connect, what is set, how rows are copied, and how long all of it may take.

Every value is the text that the server writes, because a driver's objects fail on dates such as 0000-00-00. Rows are
not buffered, because a buffered result of a million rows takes 600 MB. The transaction is WITH CONSISTENT SNAPSHOT,
READ ONLY.

READ ONLY alone does not make a query harmless: SELECT ... INTO OUTFILE still writes a file, and MariaDB runs DROP TABLE
after an implicit COMMIT. So the server first parses each query where only one that returns rows may stand: as a derived
table, of which no row is asked for.

What is not of PyMySQL's interface is in two places: the class of results, and the timeout of each read.
"""

from __future__ import annotations

import csv
import io
import math
import signal
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from appliance.ingest.sources import database_faults as faults
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import CONNECT_TIMEOUT, STALL, Query, Server
from appliance.ingest.sources.fetched_file import FetchedFile
from appliance.ingest.sources.mysql_errors import AFTER_QUERY, GARBLED, LOST, NO_LOGIN, code_of, connect_fault, fault
from appliance.ingest.sources.mysql_guard import Guard
from appliance.ingest.sources.remote import Fetched

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import SSCursor

_BATCH: Final = 1000
_GRACE: Final = 2.0
"""Seconds after which the client ends what the server should have ended by itself."""

_SETTINGS: Final[Mapping[str, str]] = {
    # How values are written, whatever the server's defaults are.
    "time_zone": "'+00:00'",
    "sql_mode": "REPLACE(@@sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')",
    # Otherwise rows, or the end of a long GROUP_CONCAT, could be missing without an error.
    "sql_select_limit": "18446744073709551615",
    "group_concat_max_len": "1048576",
    "lock_wait_timeout": "10",
}
_UNKNOWN_SETTING: Final = 1193
_ISOLATION: Final = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"  # with any other, there is no snapshot
_BEGIN: Final = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
_DERIVED: Final = "SELECT * FROM ({}" + AFTER_QUERY

_NOT_SUPPORTED: Final = ("client_ed25519",)
"""Ways to log in that would need another package."""

_READABLE: Final = ("mysql_clear_password", "dialog", "mysql_old_password")
"""Ways that show the password to whoever listens. A server must not get it by asking for one of them without TLS."""

_PROTOCOL_ERRORS: Final = (AssertionError, LookupError, RuntimeError, TypeError, ValueError, struct.error)
"""What PyMySQL raises for packets that no such server sends."""

_AS_TEXT: Final[Mapping[int, tuple[str, str]]] = {242: ("the type VECTOR", "VECTOR_TO_STRING({0})")}
"""Types of columns that the driver does not know, and what makes text of their values: of others, CAST."""

_BINARY_CHARSET: Final = 63
_TYPES: Final[Mapping[str, str]] = {
    "TINY": "tinyint",
    "SHORT": "smallint",
    "INT24": "mediumint",
    "LONG": "int",
    "LONGLONG": "bigint",
    "NEWDECIMAL": "decimal",
    "NEWDATE": "date",
    "STRING": "char",
    "VAR_STRING": "varchar",
}
"""Names of the protocol's types in SQL, where they differ."""


class Session:
    """A connection to a server, and which query runs there: an error is said to be of that."""

    def __init__(self, server: Server, connection: Connection[SSCursor]) -> None:
        self.server = server
        self.running: Query | None = None
        self._connection = connection
        self._end = time.monotonic() + server.timeout

    @property
    def version(self) -> str:
        """What the server says of itself."""
        return str(self._connection.get_server_info())

    def ask(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows that a statement returns."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return [*cursor.fetchall()]

    def use(self) -> None:
        """Choose the database."""
        self._connection.select_db(self.server.database)

    def begin(self) -> None:
        """Make the settings of the session, then begin a transaction that only reads, and sees one moment."""
        for name, value in _SETTINGS.items():
            self._set(name, value)
        self._set("net_write_timeout", f"{math.ceil(self.server.timeout + _GRACE)}")
        self.ask(_ISOLATION)
        self.ask(_BEGIN)

    def columns(self, query: Query) -> list[tuple[str, str]]:
        """Return the names and types of the columns of a query, of which no row is asked for. Raises SourceError."""
        self.running = query
        with self._connection.cursor() as cursor:
            cursor.execute(_DERIVED.format(query.statement))
            fields = () if cursor._result is None else cursor._result.fields
            found = [(field.name, _type_of(field.type_code, field.charsetnr)) for field in fields]
            cursor.fetchall()
        for field in fields:
            _require_known_type(query, field.name, field.type_code)
        return found

    def copy(self, query: Query, file: Path, *, limit: int = 0) -> Fetched:
        """Write what a query returns into a file, at most `limit` rows if it is set. Raises SourceError."""
        self.columns(query)
        self._limit()
        cursor = self._connection.cursor()
        statement = query.statement
        if limit:
            statement = f"SELECT * FROM ({statement}) AS sidebard LIMIT {limit}"
        try:
            cursor.execute(statement)
            with FetchedFile(file) as output:
                return _write(self._rows(cursor), query, output)
        finally:
            # Otherwise their destructors would read the rest of the rows, also from a closed connection.
            if cursor._result is not None:
                cursor._result.unbuffered_active = False

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _rows(self, cursor: SSCursor) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the header, then the rows in batches. Once some have come, each read has its own end."""
        yield [[column[0] for column in cursor.description or ()]]
        self._connection._read_timeout = None
        yield cursor.fetchmany(1)
        self._connection._read_timeout = STALL
        yield from iter(lambda: cursor.fetchmany(_BATCH), ())
        self._connection._read_timeout = None

    def _limit(self) -> None:
        """Have the server end a statement that takes longer than what is left."""
        seconds = max(self._end - time.monotonic(), 0.001)  # 0 would be without limit
        if "MariaDB" in self.version:
            self._set("max_statement_time", f"{seconds:.3f}")
        else:
            self._set("max_execution_time", f"{seconds * 1000:.0f}")

    def _set(self, name: str, value: str) -> None:
        """Set a variable of the session, if the server knows it."""
        import pymysql

        try:
            self.ask(f"SET SESSION {name} = {value}")
        except pymysql.MySQLError as error:
            if code_of(error) != _UNKNOWN_SETTING:
                raise


@contextmanager
def session(server: Server) -> Iterator[Session]:
    """Connect, and end the connection whatever happens. Raises SourceError for every error of the server.

    It is called in the main thread of a process without others.
    """
    import pymysql

    guard = Guard(lambda number: _kill(server, number))
    try:
        with closing(Session(server, _connect(server))) as current:
            try:
                with _deadline(server.timeout + _GRACE):
                    guard.watch(f"{current.ask('SELECT CONNECTION_ID()')[0][0]}")
                    yield current
                guard.release()
            except pymysql.MySQLError as error:
                if code_of(error) not in LOST:
                    guard.release()
                raise fault(server, error, current.running) from None
            except _LateError:
                raise faults.TOO_LONG.error(server, query=current.running) from None
            except _PROTOCOL_ERRORS:
                raise GARBLED.error(server, query=current.running) from None
    finally:
        guard.close()


def _kill(server: Server, number: int) -> None:
    """End a connection on the server. Raises SourceError."""
    connection = _connect(server)
    with _deadline(CONNECT_TIMEOUT), connection.cursor() as cursor:
        cursor.execute(f"KILL {number}")


def _connect(server: Server) -> Connection[SSCursor]:
    """Connect. Raises SourceError."""
    import pymysql
    from pymysql.constants import FIELD_TYPE
    from pymysql.cursors import SSCursor

    texts = (*(getattr(FIELD_TYPE, f"{size}BLOB") for size in ("TINY_", "", "MEDIUM_", "LONG_")),
             FIELD_TYPE.STRING, FIELD_TYPE.VAR_STRING, FIELD_TYPE.VARCHAR, FIELD_TYPE.GEOMETRY)  # fmt: skip
    context = server.tls_context()
    refused = _NOT_SUPPORTED if server.is_socket or context else (*_NOT_SUPPORTED, *_READABLE)
    try:
        with _deadline(CONNECT_TIMEOUT):
            return pymysql.connect(
                host=server.host,
                port=server.port,
                unix_socket=server.host if server.is_socket else None,
                user=server.user,
                password=server.read_password().encode(),  # the driver would encode it as Latin-1
                charset="utf8mb4",
                ssl=context,
                ssl_disabled=context is None,  # otherwise it would encrypt, and trust whoever answers
                connect_timeout=CONNECT_TIMEOUT,
                autocommit=None,
                conv={**dict.fromkeys(texts, _text), FIELD_TYPE.BIT: _number},
                cursorclass=SSCursor,
                program_name="sidebard",
                auth_plugin_map=dict.fromkeys(refused, lambda _: _RefusedLogin(server)),
            )
    except pymysql.MySQLError as error:
        raise connect_fault(server, error) from None
    except _LateError:
        raise faults.NO_ANSWER.error(server) from None
    except _PROTOCOL_ERRORS:
        raise GARBLED.error(server) from None


class _RefusedLogin:
    """A way to log in that is not used."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def authenticate(self, packet: object) -> NoReturn:
        """Refuse. Raises SourceError."""
        raise NO_LOGIN.error(self._server)


def _text(data: str | bytes) -> str:
    """Return text as it is, and the size of binary data."""
    return data if isinstance(data, str) else f"({len(data):,} bytes)"


def _number(data: bytes) -> str:
    """Return the number that a BIT column holds."""
    return str(int.from_bytes(data))


def _type_of(code: int, charset: int) -> str:
    """Return the name of a column's type, as in CREATE TABLE."""
    from pymysql.constants import FIELD_TYPE

    name = next((name for name, value in vars(FIELD_TYPE).items() if value == code), "")
    if charset != _BINARY_CHARSET:
        name = name.replace("BLOB", "TEXT")
    elif name.endswith("STRING"):
        return "binary"
    return _TYPES.get(name, name.replace("_", "").lower())


def _require_known_type(query: Query, name: str, code: int) -> None:
    """Raise SourceError for a type of which nobody knows how the server writes its values."""
    from pymysql.constants import FIELD_TYPE

    if code in vars(FIELD_TYPE).values():
        return
    what, text = _AS_TEXT.get(code, (f"a type that is not known here (number {code})", "CAST({0} AS CHAR)"))
    column = quote_name(name)
    raise SourceError(
        f"{query.section}: the column {column} of the query has {what}; write {text.format(column)} AS {column} in"
        " the query, or leave it out"
    )


def _write(batches: Iterator[Sequence[Sequence[Any]]], query: Query, output: FetchedFile) -> Fetched:
    """Write rows as CSV, the header first."""
    names: Sequence[str] = ()
    rows = -1  # the header is none
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for batch in batches:
        names = names or batch[0]
        writer.writerows(batch)
        written = text.getvalue()
        if "\0" in written:
            raise _nul(query, names, batch, rows)
        text.seek(0)
        text.truncate()
        output.write(written.encode())
        rows += len(batch)
    return output.fetched(rows)


def _nul(query: Query, names: Sequence[str], batch: Sequence[Sequence[str | None]], before: int) -> SourceError:
    """Return which value of a batch has a NUL byte."""
    at, column = next((at, n) for at, row in enumerate(batch, 1) for n, cell in enumerate(row) if "\0" in (cell or ""))
    what = f"row {before + at} of the query has a NUL byte in {names[column]!r}"
    return SourceError(f"{query.section}: {what}; leave it out, as with REPLACE(column, CHAR(0), '')")


class _LateError(Exception):
    """There was no end in time."""


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise _LateError in what takes longer."""

    def late(*_: object) -> NoReturn:
        raise _LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def quote_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return "`" + name.replace("`", "``") + "`"
