"""Inspects a PostgreSQL for `sidebard check`: what can be read, what cannot, and whether the role may do more.

All is asked in one transaction that only reads. What the catalogues of another server do not know is left out: each
question is behind a savepoint, so that one that fails does not end the transaction.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query, Server
from appliance.ingest.sources.database_remarks import Tried, conclude, remark_on_columns, remarks_on_tls, welcome
from appliance.ingest.sources.postgres_session import Session, fault, quote_name, session
from appliance.ingest.sources.remote import Inspection, Remark

_ROLE: Final = """SELECT current_user AS name, rolsuper, rolreplication, rolcreaterole, rolcreatedb, rolbypassrls,
current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
(SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '_?superuser$|^pg_(write|execute)'
AND rolname <> current_user AND pg_has_role(current_user, oid, 'MEMBER')) AS member
FROM pg_roles WHERE rolname = current_user"""
_POWERS: Final = {
    "rolsuper": "is a superuser",
    "rolreplication": "may replicate",
    "rolcreaterole": "may create roles",
    "rolcreatedb": "may create databases",
    "rolbypassrls": "bypasses row-level security",
}
_RELATIONS: Final = """FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
_NAMED: Final = f"""SELECT n.nspname AS schema, c.relname AS name, has_schema_privilege(n.oid, 'USAGE') AS enters,
has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT') AS reads
{_RELATIONS} AND c.relname = ANY($1::text[])
AND (n.nspname = ANY($1::text[]) OR n.nspname = 'public' OR n.nspname = ANY(current_schemas(false))) ORDER BY 1, 2"""
"""The tables and views whose names are among the words of a query: no parser, but nothing depends on it."""

_WRITES: Final = f"""SELECT count(*) AS number, min(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) AS first
{_RELATIONS} AND (pg_has_role(c.relowner, 'USAGE') OR has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))"""
_WORDS: Final = re.compile(r'"((?:[^"]|"")+)"|([\w$]+)')


class _Table(NamedTuple):
    """A table or view that a query names."""

    schema: str
    name: str
    enters: bool
    """Whether the schema may be used."""

    reads: bool

    def __str__(self) -> str:
        return f"{_short(self.schema)}.{_short(self.name)}"


def inspect(server: Server, queries: Sequence[Query], files: Sequence[Path], rows: int) -> Inspection:
    """Inspect, and write the first rows of each query into its file. Raises SourceError, and OSError of the files."""
    return asyncio.run(_inspect(server, queries, files, rows))


async def _inspect(server: Server, queries: Sequence[Query], files: Sequence[Path], rows: int) -> Inspection:
    async with session(server) as current:
        await current.begin()
        role = (await _ask(current, _ROLE) or [{}])[0]
        words = {word for query in queries for word in _words(query.statement)}
        tables = [_Table(*row) for row in await _ask(current, _NAMED, sorted(words))]
        writes = (await _ask(current, _WRITES) or [{}])[0]
        version = f"PostgreSQL {role['version'].split()[0]}" if role else "the server"
        remarks = [welcome(server, version, _short(server.user)), *remarks_on_tls(server), *_of_encoding(server, role)]
        remarks += _of_grants(server, tables)
        remarks += _of_powers(server, role, writes, tables)
        fetched = [await _try(current, query, file, rows) for query, file in zip(queries, files, strict=True)]
    return conclude(remarks, fetched, is_grant_missing=any(not (each.enters and each.reads) for each in tables))


async def _ask(current: Session, statement: str, *arguments: object) -> list[Any]:
    """Return the rows of a question to the catalogues; none if the server does not understand it."""
    import asyncpg

    await current.connection.execute("SAVEPOINT asked")
    try:
        return [*await current.connection.fetch(statement, *arguments)]
    except asyncpg.PostgresError:
        await current.connection.execute("ROLLBACK TO SAVEPOINT asked")
        return []


async def _try(current: Session, query: Query, file: Path, rows: int) -> Tried:
    """Write the first rows of a query, and say what columns it has; or return why it cannot be fetched."""
    import asyncpg

    await current.connection.execute("SAVEPOINT tried")
    try:
        columns = await current.columns(query)
        fetched = await current.copy(query, file, limit=rows)
    except (asyncpg.PostgresError, SourceError) as error:
        await current.connection.execute("ROLLBACK TO SAVEPOINT tried")
        return error if isinstance(error, SourceError) else fault(current.server, error, query)
    return remark_on_columns(current.server, query, [f"{_short(name)} {kind}" for name, kind in columns]), fetched


def _words(statement: str) -> Iterator[str]:
    """Yield every word of a statement that may be a name, as the server writes it."""
    for quoted, bare in _WORDS.findall(statement):
        yield quoted.replace('""', '"') if quoted else bare.lower()


def _of_encoding(server: Server, role: Any) -> Iterator[Remark]:
    if role and role["encoding"] == "SQL_ASCII" and not server.encoding:
        yield Remark(
            "warning",
            f"{server}: the database has no encoding (SQL_ASCII), so text that is not UTF-8 will be refused; set the"
            ' real one, such as customers.encoding = "cp1252"',
        )


def _of_grants(server: Server, tables: Sequence[_Table]) -> Iterator[Remark]:
    """Yield what a role needs that cannot read the tables, as statements."""
    user = _short(server.user)
    closed = [table for table in tables if not (table.enters and table.reads)]
    if not closed:
        return
    schemas = sorted({_short(table.schema) for table in closed if not table.enters})
    unread = [str(table) for table in closed if not table.reads]
    statements = [f"GRANT USAGE ON SCHEMA {', '.join(schemas)} TO {user};"] if schemas else []
    statements += [f"GRANT SELECT ON {', '.join(unread)} TO {user};"] if unread else []
    named = ", ".join(map(str, closed))
    yield Remark("fault", f"{server}: {user} may not read {named}; run, as their owner: {' '.join(statements)}")


def _of_powers(server: Server, role: Any, writes: Any, tables: Sequence[_Table]) -> Iterator[Remark]:
    """Yield what a role may do besides reading, and the statements for a better one."""
    found = [words for power, words in _POWERS.items() if role and role[power]]
    if role and role["member"]:
        found.append(f"is a member of {role['member']}")
    if writes and writes["number"]:
        more = f" and {writes['number'] - 1:,} more" if writes["number"] > 1 else ""
        found.append(f"may write {writes['first']}{more}")
    if role and role["rolsuper"]:  # which implies the rest
        found = [_POWERS["rolsuper"]]
    if not found:
        return
    name = "sidebard" if server.user != "sidebard" else "sidebard_reader"
    schemas = sorted({_short(table.schema) for table in tables})
    statements = [
        f"CREATE ROLE {name} LOGIN PASSWORD '...' CONNECTION LIMIT 3;",
        f"GRANT CONNECT ON DATABASE {_short(server.database)} TO {name};",
        *([f"GRANT USAGE ON SCHEMA {', '.join(schemas)} TO {name};"] if schemas else []),
        *([f"GRANT SELECT ON {', '.join(map(str, tables))} TO {name};"] if tables else []),
    ]
    yield Remark(
        "warning",
        f"{server}: {_short(server.user)} may do more than read: it {', '.join(found)}. To create a role that may only"
        f" read: {' '.join(statements)}",
    )


def _short(name: str) -> str:
    """Return a name as SQL has it, quoted only if it must be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quote_name(name)
