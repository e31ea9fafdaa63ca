"""MySQL and MariaDB: fetches tables row by row, each value as the text that the server writes, into CSV files.

As text, because a driver's objects fail on dates such as 0000-00-00, and unbuffered, because a buffered result of a
million rows takes 600 MB. All queries of one server run in one transaction WITH CONSISTENT SNAPSHOT, READ ONLY.

READ ONLY alone does not make a query harmless: SELECT ... INTO OUTFILE still writes a file, and MariaDB runs DROP TABLE
after an implicit COMMIT. So the server first parses each query where only one that returns rows may stand: as a derived
table, of which no row is asked for.

Neither server notices that a client is gone before it sends the first row, which may be long after. So another process
waits for the end of the one that fetches:

    fetching   forks the guard -> connects -> tells it the connection's number -> queries -> releases it
    guard      released, or told no number: ends
               the other has ended without: has the server KILL that connection, then ends
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from appliance.ingest.sources.base import SourceError, SourceKind
from appliance.ingest.sources.database import (
    CONNECT_TIMEOUT,
    DatabaseTable,
    Query,
    Server,
    parse_server,
)
from appliance.ingest.sources.mysql_errors import (
    AFTER_QUERY,
    GARBLED,
    LOST,
    NO_ANSWER,
    NO_LOGIN,
    TOO_LONG,
    code_of,
    connect_fault,
    fault,
)
from appliance.ingest.sources.remote import Fetched
from appliance.system.files import open_private
from appliance.system.fork import fork_failure

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import SSCursor

DEFAULT_PORT: Final = 3306
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
_BEGIN: Final = (
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",  # with any other, there is no snapshot
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
_PARSE: Final = "SELECT * FROM ({}" + AFTER_QUERY

_NOT_SUPPORTED: Final = ("client_ed25519",)
"""Ways to log in that would need another package."""

_READABLE: Final = ("mysql_clear_password", "dialog", "mysql_old_password")
"""Ways that show the password to whoever listens. A server must not get it by asking for one of them without TLS."""

_PROTOCOL_ERRORS: Final = (AssertionError, LookupError, RuntimeError, TypeError, ValueError, struct.error)
"""What PyMySQL raises for packets that no such server sends."""


def parse(
    address: str, section: str, *, query: str, table: str, tls: str, ca: Path | None, timeout: float,
    password: Callable[[], str] | None, changed: str,
) -> DatabaseTable:  # fmt: skip
    """Return the table that a section of the config describes. Raises SourceSettingError."""
    server = parse_server(
        address, default_port=DEFAULT_PORT, tls=tls, ca=ca, timeout=timeout, encoding="", password=password,
        changed=changed, section=section,
    )  # fmt: skip
    if server.is_socket:  # a file, and no folder that has one for each port
        server = replace(server, port=0)
    return DatabaseTable(server, Query.parse(section, query, table, quote_name), fetch)


def fetch(server: Server, queries: Sequence[Query], files: Sequence[Path]) -> tuple[Fetched, ...]:
    """Write what each query returns into its file, all of one moment. Raises SourceError, and OSError of the files.

    It is called in the main thread of a process without others.
    """
    guard = _Guard(server)
    try:
        return _fetch(server, queries, files, guard)
    finally:
        guard.close()


def _fetch(server: Server, queries: Sequence[Query], files: Sequence[Path], guard: _Guard) -> tuple[Fetched, ...]:
    import pymysql

    running: Query | None = None
    connection = _connect(server)
    try:
        with _deadline(server.timeout + _GRACE):
            end = time.monotonic() + server.timeout
            guard.watch(_ask(connection, "SELECT CONNECTION_ID()"))
            _begin(connection, server)
            fetched = []
            for query, file in zip(queries, files, strict=True):
                running = query
                _limit(connection, end - time.monotonic())
                fetched.append(_copy(connection, query, file))
                if fetched[-1].sha256 == query.stop_at:
                    break
        guard.release()
        return tuple(fetched)
    except pymysql.MySQLError as error:
        if code_of(error) not in LOST:
            guard.release()
        raise fault(server, error, running) from None
    except _LateError:
        raise TOO_LONG.error(server, query=running) from None
    except _PROTOCOL_ERRORS:
        raise GARBLED.error(server, query=running) from None
    finally:
        connection.close()


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
                database=server.database,
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
        raise NO_ANSWER.error(server) from None
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


def _ask(connection: Connection[SSCursor], statement: str) -> str:
    """Return the first value of the first row that a statement returns; "" without rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    return str(rows[0][0]) if rows else ""


def _begin(connection: Connection[SSCursor], server: Server) -> None:
    """Make the settings of the session, then begin the transaction."""
    for name, value in _SETTINGS.items():
        _set(connection, name, value)
    _set(connection, "net_write_timeout", f"{math.ceil(server.timeout + _GRACE)}")
    for statement in _BEGIN:
        _ask(connection, statement)


def _limit(connection: Connection[SSCursor], seconds: float) -> None:
    """Have the server end a statement that takes longer."""
    seconds = max(seconds, 0.001)  # 0 would be without limit
    if "MariaDB" in connection.get_server_info():
        _set(connection, "max_statement_time", f"{seconds:.3f}")
    else:
        _set(connection, "max_execution_time", f"{seconds * 1000:.0f}")


def _set(connection: Connection[SSCursor], name: str, value: str) -> None:
    """Set a variable of the session, if the server knows it."""
    import pymysql

    try:
        _ask(connection, f"SET SESSION {name} = {value}")
    except pymysql.MySQLError as error:
        if code_of(error) != _UNKNOWN_SETTING:
            raise


def _copy(connection: Connection[SSCursor], query: Query, file: Path) -> Fetched:
    """Write what a query returns into a file."""
    _ask(connection, _PARSE.format(query.statement))
    cursor = connection.cursor()
    try:
        cursor.execute(query.statement)
        with os.fdopen(open_private(file, os.O_WRONLY | os.O_TRUNC), "wb") as output:
            return _write(cursor, query, output)
    finally:
        # Otherwise their destructors would read the rest of the rows, also from a closed connection.
        if cursor._result is not None:
            cursor._result.unbuffered_active = False


def _write(cursor: SSCursor, query: Query, output: io.BufferedWriter) -> Fetched:
    """Write the rows of a query, with a header."""
    names = [column[0] for column in cursor.description or ()]
    digest, size, rows = hashlib.sha256(), 0, -1  # -1: the header is none
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for batch in chain([[names]], iter(lambda: cursor.fetchmany(_BATCH), ())):
        writer.writerows(batch)
        written = text.getvalue()
        if "\0" in written:
            raise _nul(query, names, batch, rows)
        text.seek(0)
        text.truncate()
        data = written.encode()
        output.write(data)
        digest.update(data)
        size += len(data)
        rows += len(batch)
    return Fetched(rows, size, digest.hexdigest())


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


class _Guard:
    """The process that ends on the server what a killed process has begun there."""

    def __init__(self, server: Server) -> None:
        """Start it. Raises SourceError."""
        read_end, self._write_end = os.pipe()
        try:
            self._pid = os.fork()
        except OSError as error:
            os.close(read_end)
            os.close(self._write_end)
            raise SourceError(fork_failure(error), transient=True) from None
        if self._pid == 0:
            _guard(server, read_end)
        os.close(read_end)

    def watch(self, connection_id: str) -> None:
        """Have it end this connection, unless it is released."""
        os.write(self._write_end, f"{connection_id}\n".encode())

    def release(self) -> None:
        """Have it leave the connection alone: the server has answered all."""
        os.write(self._write_end, b"done")

    def close(self) -> None:
        """Wait for its end."""
        os.close(self._write_end)
        os.waitpid(self._pid, 0)


def _guard(server: Server, read_end: int) -> NoReturn:
    """Wait for the end of the process that forked this one; it must not hold open what that one had open."""
    try:
        os.setsid()
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        os.dup2(read_end, 0)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        told = b"".join(iter(lambda: os.read(0, 64), b""))
        number, _, end = told.partition(b"\n")
        if number and not end:
            with suppress(SourceError):
                connection = _connect(server)
                with _deadline(CONNECT_TIMEOUT):
                    _ask(connection, f"KILL {int(number)}")
    finally:
        os._exit(0)


def quote_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return "`" + name.replace("`", "``") + "`"


KIND: Final = SourceKind(
    title="MySQL",
    parse=parse,
    schemes=("mysql", "mariadb"),
    keys=("query", "table", "password", "tls", "ca", "timeout", "changed"),
    about="a table, view or query of a MySQL or MariaDB database",
)
