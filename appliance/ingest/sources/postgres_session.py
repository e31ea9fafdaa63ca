"""A transaction in PostgreSQL: how to connect, what is set, how rows are copied, and what each error means.

COPY, because the server then writes every value as text: a driver's objects for dates raise for infinity, years BC and
years after 9999, and making them costs twice the CPU. It also needs no cursor, whose plan is made for its first rows.
Servers that only speak PostgreSQL's protocol may refuse it; they are asked for values cast to text, by a cursor.

Nothing but `application_name` is sent when connecting, because PgBouncer refuses other parameters. Settings are made in
the transaction instead; those that a server does not know are left out.

Each query is prepared before it is copied. That refuses a second statement behind it, and says of what type its columns
are: of binary data, only the size is fetched.
"""

from __future__ import annotations

import asyncio
import csv
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from appliance.ingest.sources import database_faults as faults
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import CONNECT_TIMEOUT, STALL, Query, Server
from appliance.ingest.sources.fetched_file import FetchedFile
from appliance.ingest.sources.remote import Fetched

if TYPE_CHECKING:
    import asyncpg

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
_PREFETCH: Final = 1000
_BINARY: Final = "bytea"
_SIZE: Final = "'(' || to_char(octet_length(q.{0}), 'FM999,999,999,990') || ' bytes)'"

_FAULTS: Final[Mapping[str, faults.Fault]] = {
    "28": faults.Fault(
        "the server rejected the login",
        "correct customers.password, the user, or the server's pg_hba.conf; then reload sidebard",
        transient=False,
        login_refused=True,
    ),
    "3D000": faults.NO_DATABASE,
    "42P01": faults.Fault("there is no such table", "correct the query or table, or name its schema", False),
    "42703": faults.NO_COLUMN,
    "42601": faults.Fault("the query is not one statement of valid SQL", faults.CORRECT_QUERY, transient=False),
    "42501": faults.NOT_READABLE,
    "42": faults.REFUSED,
    "25006": faults.WRITES,
    "0A000": faults.Fault("the server does not support this", "move it into a view on the server"),
    "57014": faults.TOO_LONG,
    "55P03": faults.LOCKED,
    "25P03": faults.Fault("the server ended the transaction because it was idle for too long", faults.LATER),
    "57": faults.Fault("the server is shutting down or restarting", faults.LATER),
    "08": faults.CLOSED,
    "53300": faults.Fault("the server has too many connections", "raise its max_connections, or use a pooler"),
    "53": faults.FULL,
    "40": faults.Fault(
        "the query was cancelled because of a conflict on the server, such as a standby's recovery", faults.LATER
    ),
    "22021": faults.Fault("some text is not UTF-8", 'set its encoding, such as customers.encoding = "cp1252"', False),
    "22P05": faults.Fault("some text is not UTF-8", 'set its encoding, such as customers.encoding = "cp1252"', False),
    "22": faults.NOT_COMPUTED,
}
_SAYS_NO_VALUE: Final = ("42", "25", "0A")
"""Classes of errors whose message names what stands in the query. Those of others may repeat a value of a row."""


class Session:
    """A connection to a server, and which query runs there: an error is said to be of that."""

    def __init__(self, server: Server, connection: asyncpg.Connection[Any]) -> None:
        self.server = server
        self.connection = connection
        self.running: Query | None = None

    async def begin(self) -> None:
        """Begin a transaction that only reads, and sees one moment."""
        await self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await self.connection.execute(_set(self.server))

    async def columns(self, query: Query) -> list[tuple[str, str]]:
        """Return the names and types of the columns of a query, which is not run."""
        self.running = query
        prepared = await self.connection.prepare(query.statement, name="")
        return [(each.name, each.type.name) for each in prepared.get_attributes()]

    async def copy(self, query: Query, file: Path, *, limit: int = 0, cast: bool = False) -> Fetched:
        """Write what a query returns into a file, at most `limit` rows if it is set. Raises SourceError.

        With `cast`, values are cast to text, and no COPY is used.
        """
        columns = await self.columns(query)
        for number, (name, _) in enumerate(columns, 1):
            if name == "?column?":
                raise SourceError(f"{query.section}: column {number} of the query has no name; name it with AS")
        statement = _as_text(columns, query.statement, cast=cast)
        if limit:
            statement = f"SELECT * FROM ({statement}) AS q LIMIT {limit}\n"
        stall = asyncio.timeout(None)
        try:
            with FetchedFile(file) as output:
                async with stall:

                    async def write(data: bytes) -> None:
                        output.write(data)
                        stall.reschedule(asyncio.get_running_loop().time() + STALL)

                    if cast:
                        return output.fetched(await self._cast(statement, columns, write))
                    status = await self.connection.copy_from_query(statement, output=write, format="csv", header=True)
                    return output.fetched(int(status.removeprefix("COPY ")))
        except TimeoutError:
            if stall.expired():
                raise faults.STALLED.error(self.server, query=query) from None
            raise

    async def _cast(
        self, statement: str, columns: Sequence[tuple[str, str]], write: Callable[[bytes], Awaitable[None]]
    ) -> int:
        """Write rows as CSV, as they come by a cursor; return their number."""
        rows, text = 0, io.StringIO(newline="")
        writer = csv.writer(text)  # with its own line end, or it would leave a lone CR in a value without quotes
        writer.writerow([name for name, _ in columns])
        async for row in self.connection.cursor(statement, prefetch=_PREFETCH):
            writer.writerow(row.values())
            rows += 1
            if rows % _PREFETCH == 0:
                await write(text.getvalue().encode())
                text.seek(0)
                text.truncate()
        await write(text.getvalue().encode())
        return rows


@asynccontextmanager
async def session(server: Server) -> AsyncIterator[Session]:
    """Connect, and end the connection whatever happens. Raises SourceError for every error of the server."""
    import asyncpg

    current = Session(server, await _connect(server))
    try:
        async with asyncio.timeout(server.timeout):
            yield current
    except asyncpg.PostgresError as error:
        raise fault(server, error, current.running) from None
    except TimeoutError:
        raise faults.TOO_LONG.error(server, query=current.running) from None
    except (ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        raise faults.CLOSED.error(server, query=current.running) from None
    finally:
        current.connection.terminate()  # it is not used again, and must not wait for a server that does not answer


async def _connect(server: Server) -> asyncpg.Connection[Any]:
    """Connect. Raises SourceError."""
    import asyncpg

    try:
        return await asyncpg.connect(
            host=server.host.split(","),
            port=server.port,
            user=server.user,
            password=server.read_password(),
            database=server.database,
            ssl=server.tls_context() or "disable",
            timeout=CONNECT_TIMEOUT,
            statement_cache_size=0,
            target_session_attrs=server.target or None,
            server_settings={"application_name": "sidebard"},
        )
    except asyncpg.PostgresError as error:
        raise fault(server, error, None) from None
    except asyncpg.InterfaceError:
        raise faults.Fault(
            "the server requires an unsupported authentication method", "use scram-sha-256", False
        ).error(server) from None
    except ssl.SSLCertVerificationError as error:
        raise faults.UNTRUSTED.error(server, detail=error.verify_message) from None
    except TimeoutError:
        raise faults.NO_ANSWER.error(server) from None
    except (OSError, asyncpg.InternalClientError) as error:
        if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
            raise faults.NO_TLS.error(server) from None
        raise faults.UNREACHABLE.error(server, detail=getattr(error, "strerror", None) or "") from None


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


def _as_text(columns: Sequence[tuple[str, str]], statement: str, *, cast: bool) -> str:
    """Return a statement with the size in place of each value that is binary data; with `cast`, the others as text."""
    if not cast and all(kind != _BINARY for _, kind in columns):
        return statement
    inner = [f"c{number}" for number in range(len(columns))]
    value = "q.{0}::text" if cast else "q.{0}"
    outer = [
        f"{(_SIZE if kind == _BINARY else value).format(at)} AS {quote_name(name)}"
        for at, (name, kind) in zip(inner, columns, strict=True)
    ]
    return f"SELECT {', '.join(outer)} FROM ({statement}) AS q({', '.join(inner)})\n"


def quote_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def fault(server: Server, error: asyncpg.PostgresError, query: Query | None) -> SourceError:
    """Return what an error of the server means."""
    code = error.sqlstate or ""
    detail = ""
    if code.startswith(_SAYS_NO_VALUE):
        detail = str(error).splitlines()[0]
        if position := getattr(error, "position", None):
            detail += f", at character {position} of the query"
    return faults.fault_of(code, _FAULTS).error(server, query=query, detail=detail or code)
