"""PostgreSQL: fetches tables by `COPY (query) TO STDOUT`, as CSV.

COPY, because the server then writes every value as text: a driver's objects for dates raise for infinity, years BC and
years after 9999, and making them costs twice the CPU. It also needs no cursor, whose plan is made for its first rows.

Nothing but `application_name` is sent when connecting, because PgBouncer refuses other parameters. Settings are made in
the transaction instead; those that a server does not know are left out.

Each query is prepared before it is copied. That refuses a second statement behind it, and says of what type its columns
are: of binary data, only the size is fetched.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from appliance.ingest.sources.base import SourceError, SourceKind
from appliance.ingest.sources.database import (
    CONNECT_TIMEOUT,
    DatabaseTable,
    Fault,
    Query,
    Server,
    fault_of,
    parse_server,
)
from appliance.ingest.sources.remote import Fetched
from appliance.system.files import open_private

if TYPE_CHECKING:
    import asyncpg

DEFAULT_PORT: Final = 5432
_SETTINGS: Final[Mapping[str, str]] = {
    "lock_timeout": "10s",
    # Otherwise a query runs to its end when the process that asked is killed before the first row (from version 14).
    "client_connection_check_interval": "2s",
    # Otherwise rows without ORDER BY begin anywhere, and unchanged data would look changed.
    "synchronize_seqscans": "off",
    # How values are written, whatever the role or the database says.
    "datestyle": "ISO",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
_SET: Final = """SELECT set_config(s.name, w.value, true) FROM pg_settings AS s
JOIN (VALUES {}) AS w(name, value) ON lower(s.name) = w.name"""
_BINARY: Final = "bytea"
_SIZE: Final = "'(' || to_char(octet_length(q.{0}), 'FM999,999,999,990') || ' bytes)'"

_QUERY: Final = "correct the query"
_LATER: Final = "it will be tried again"
_FAULTS: Final[Mapping[str, Fault]] = {
    "28": Fault(
        "the server refuses this user",
        "correct customers.password, the user, or the server's pg_hba.conf",
        transient=False,
        login_refused=True,
    ),
    "3D000": Fault("the server has no such database", "correct customers.source"),
    "42P01": Fault("there is no such table", "correct the query or table, or name its schema"),
    "42703": Fault("there is no such column", _QUERY),
    "42601": Fault("the query is not one statement of valid SQL", _QUERY),
    "42501": Fault("this user may not read that", "GRANT SELECT on it to this user"),
    "42": Fault("the query is refused", _QUERY),
    "25006": Fault("the query would write", "write a query that only reads"),
    "0A000": Fault("the server does not support this", "let a view on the server do it"),
    "57014": Fault("the query took too long", "add an index, or raise customers.timeout"),
    "55P03": Fault("a table is locked", _LATER),
    "25P03": Fault("the server ended the transaction, because it waited too long", _LATER),
    "57": Fault("the server is being stopped or restarted", _LATER),
    "08": Fault("the connection was lost", _LATER),
    "53300": Fault("the server has too many connections", "raise its max_connections, or use a pooler"),
    "53": Fault("the server lacks memory or disk space", "look at the server's log"),
    "40": Fault("the query conflicts with what the server does, such as a standby's recovery", _LATER),
    "22021": Fault(
        "there is text that is not UTF-8", 'name what the text is in, as in customers.encoding = "cp1252"', False
    ),
    "22P05": Fault(
        "there is text that is not UTF-8", 'name what the text is in, as in customers.encoding = "cp1252"', False
    ),
    "22": Fault("the query cannot compute a value of some row", "correct the query or that row"),
}
_UNKNOWN: Final = Fault("the server refuses the query", "look at the server's log")
_UNREACHABLE: Final = Fault("cannot be reached", "check the address, and that the server accepts connections from here")
_NO_ANSWER: Final = Fault("there was no answer in time", "check the network and the server")
_CLOSED: Final = Fault("the connection was lost", _LATER)
_NO_TLS: Final = Fault("the server does not offer TLS", 'turn it on there, or set customers.tls = "off"', False)
_UNTRUSTED: Final = Fault(
    "the server's certificate is not trusted", "set customers.ca, or correct the host name", transient=False
)
_SAYS_NO_VALUE: Final = ("42", "25", "0A")
"""Classes of errors whose message names what stands in the query. Those of others may repeat a value of a row."""


def parse(
    address: str, section: str, *, query: str, table: str, encoding: str, tls: str, ca: Path | None, timeout: float,
    password: Callable[[], str] | None, changed: str,
) -> DatabaseTable:  # fmt: skip
    """Return the table that a section of the config describes. Raises SourceSettingError."""
    if encoding and codecs.lookup(encoding).name == "utf-8":
        encoding = ""
    server = parse_server(
        address, default_port=DEFAULT_PORT, tls=tls, ca=ca, timeout=timeout, encoding=encoding, password=password,
        changed=changed, section=section,
    )  # fmt: skip
    return DatabaseTable(server, Query.parse(section, query, table, quote_name), fetch)


def fetch(server: Server, queries: Sequence[Query], files: Sequence[Path]) -> tuple[Fetched, ...]:
    """Write what each query returns into its file, all of one moment. Raises SourceError, and OSError of the files."""
    return asyncio.run(_fetch(server, queries, files))


async def _fetch(server: Server, queries: Sequence[Query], files: Sequence[Path]) -> tuple[Fetched, ...]:
    import asyncpg

    connection = await _connect(server)
    running: Query | None = None
    try:
        async with asyncio.timeout(server.timeout):
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await connection.execute(_set(server))
            fetched = []
            for query, file in zip(queries, files, strict=True):
                running = query
                fetched.append(await _copy(connection, query, file))
                if fetched[-1].sha256 == query.stop_at:
                    break
            await connection.execute("COMMIT")
            return tuple(fetched)
    except asyncpg.PostgresError as error:
        raise _fault(server, error, running) from None
    except TimeoutError:
        raise _FAULTS["57014"].error(server, query=running) from None
    except (ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        raise _CLOSED.error(server, query=running) from None
    finally:
        connection.terminate()  # it is not used again, and must not wait for a server that does not answer


async def _connect(server: Server) -> asyncpg.Connection[Any]:
    """Connect. Raises SourceError."""
    import asyncpg

    try:
        return await asyncpg.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.read_password(),
            database=server.database,
            ssl=server.tls_context() or "disable",
            timeout=CONNECT_TIMEOUT,
            statement_cache_size=0,
            server_settings={"application_name": "sidebard"},
        )
    except asyncpg.PostgresError as error:
        raise _fault(server, error, None) from None
    except asyncpg.InterfaceError:
        raise Fault("the server asks for a way to log in that is not supported", "use scram-sha-256", False).error(
            server
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise _UNTRUSTED.error(server, detail=error.verify_message) from None
    except TimeoutError:
        raise _NO_ANSWER.error(server) from None
    except (OSError, asyncpg.InternalClientError) as error:
        if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
            raise _NO_TLS.error(server) from None
        raise _UNREACHABLE.error(server, detail=getattr(error, "strerror", None) or "") from None


def _set(server: Server) -> str:
    """Return the statement that makes the settings of the transaction."""
    milliseconds = f"{max(1, round(server.timeout * 1000))}"
    wanted = {
        **_SETTINGS,
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        **({"client_encoding": "SQL_ASCII"} if server.encoding else {}),  # the bytes as they are
    }
    return _SET.format(", ".join(f"('{name}', '{value}')" for name, value in wanted.items()))


async def _copy(connection: asyncpg.Connection[Any], query: Query, file: Path) -> Fetched:
    """Write what a query returns into a file."""
    prepared = await connection.prepare(query.statement, name="")
    statement = _without_binary([(each.name, each.type.name) for each in prepared.get_attributes()], query)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(open_private(file, os.O_WRONLY | os.O_TRUNC), "wb") as output:

        async def write(data: bytes) -> None:
            nonlocal size
            output.write(data)
            digest.update(data)
            size += len(data)

        status = await connection.copy_from_query(statement, output=write, format="csv", header=True)
    return Fetched(int(status.removeprefix("COPY ")), size, digest.hexdigest())


def _without_binary(columns: Sequence[tuple[str, str]], query: Query) -> str:
    """Return a statement with the size in place of each value that is binary data."""
    for number, (name, _) in enumerate(columns, 1):
        if name == "?column?":
            raise SourceError(f"{query.section}: column {number} of the query has no name; name it with AS")
    if all(kind != _BINARY for _, kind in columns):
        return query.statement
    inner = [f"c{number}" for number in range(len(columns))]
    outer = [
        f"{_SIZE.format(at) if kind == _BINARY else f'q.{at}'} AS {quote_name(name)}"
        for at, (name, kind) in zip(inner, columns, strict=True)
    ]
    return f"SELECT {', '.join(outer)} FROM ({query.statement}) AS q({', '.join(inner)})\n"


def quote_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _fault(server: Server, error: asyncpg.PostgresError, query: Query | None) -> SourceError:
    """Return what an error of the server means."""
    code = error.sqlstate or ""
    detail = ""
    if code.startswith(_SAYS_NO_VALUE):
        detail = str(error).splitlines()[0]
        if position := getattr(error, "position", None):
            detail += f", at character {position} of the query"
    return fault_of(code, _FAULTS, _UNKNOWN).error(server, query=query, detail=detail or code)


KIND: Final = SourceKind(
    title="PostgreSQL",
    parse=parse,
    schemes=("postgresql", "postgres"),
    keys=("query", "table", "password", "tls", "ca", "timeout", "changed", "encoding"),
    about="a table, view or query of a PostgreSQL database",
)
