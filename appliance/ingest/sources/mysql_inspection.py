"""Inspects a MySQL or MariaDB for `sidebard check`: what can be read, what cannot, and whether the user may do more.

No catalogue shows a user the tables that it may not read. So if a query is refused for that, what stands behind FROM
and JOIN is tried. The lines of SHOW GRANTS hold the digest of the password: only names of privileges are taken there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query, Server
from appliance.ingest.sources.database_remarks import (
    Tried,
    conclude,
    needs_grant,
    remark_on_columns,
    remarks_on_tls,
    welcome,
)
from appliance.ingest.sources.mysql_errors import NO_ACCESS, NOT_GRANTED, code_of, fault
from appliance.ingest.sources.mysql_session import Session, quote_name, session
from appliance.ingest.sources.remote import Inspection, Remark

_NAME: Final = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_TABLE: Final = re.compile(rf"\b(?:FROM|JOIN)\s+({_NAME}(?:\s*\.\s*{_NAME})?)", re.IGNORECASE)
_GRANT: Final = re.compile(r"GRANT (.+?) ON (?:TABLE |FUNCTION |PROCEDURE )?(\S+) TO ")
_READS: Final = ("SELECT", "USAGE", "SHOW VIEW", "EXECUTE")
"""Privileges by which nothing can be changed. A function runs as in any transaction that only reads."""

_WITHOUT_MOMENT: Final = """SELECT table_name FROM information_schema.tables
WHERE table_schema = database() AND engine IN ('MyISAM', 'Aria', 'MEMORY', 'CSV') AND table_name IN %s ORDER BY 1"""


class _User(NamedTuple):
    """Who is asking, by the server's accounts."""

    name: str
    host: str

    def __str__(self) -> str:
        return f"{self.name}@'{self.host}'"


def inspect(server: Server, queries: Sequence[Query], files: Sequence[Path], rows: int) -> Inspection:
    """Inspect, and write the first rows of each query into its file. Raises SourceError, and OSError of the files."""
    with session(server) as current:
        user = _User(*str(current.ask("SELECT CURRENT_USER()")[0][0]).rsplit("@", 1))
        remarks = [welcome(server, _product(current.version), user.name), *remarks_on_tls(server)]
        named = _tables(server, queries)
        if not _enters(current):
            return conclude([*remarks, _of_grants(server, user, named or [_all(server)])], [], is_grant_missing=True)
        current.begin()
        tried = [_try(current, query, file, rows) for query, file in zip(queries, files, strict=True)]
        refused = [query for query, each in zip(queries, tried, strict=True) if needs_grant(each)]
        closed = [table for table in _tables(server, refused) if _is_closed(current, table)]
        remarks += [_of_grants(server, user, closed)] if closed else []
        remarks += _of_powers(current, user, named)
        remarks += _of_engines(current, named) if len(queries) > 1 else []
    return conclude(remarks, tried, is_grant_missing=bool(closed))


def _product(version: str) -> str:
    """Return the product and its version."""
    number = re.sub(r"^5\.5\.5-", "", version)  # in front of MariaDB's, for old clients
    return f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {number.partition('-')[0]}"


def _enters(current: Session) -> bool:
    """Choose the database, unless the user may not."""
    import pymysql

    try:
        current.use()
    except pymysql.MySQLError as error:
        if code_of(error) != NO_ACCESS:
            raise
        return False
    return True


def _try(current: Session, query: Query, file: Path, rows: int) -> Tried:
    """Write the first rows of a query, and say what columns it has; or return why it cannot be fetched."""
    import pymysql

    try:
        columns = current.columns(query)
        fetched = current.copy(query, file, limit=rows)
    except SourceError as error:
        return error
    except pymysql.MySQLError as error:
        return fault(current.server, error, query)
    return remark_on_columns(current.server, query, [f"{_short(name)} {kind}" for name, kind in columns]), fetched


def _tables(server: Server, queries: Sequence[Query]) -> list[str]:
    """Return what queries may name as tables, with their databases, as SQL has them: no parser, but only for advice."""
    found = set()
    for name in (name for query in queries for name in _TABLE.findall(query.statement)):
        parts = [part.strip("`").replace("``", "`") for part in re.findall(_NAME, name)]
        found.add(".".join(map(_short, parts if len(parts) > 1 else (server.database, *parts))))
    return sorted(found)


def _is_closed(current: Session, table: str) -> bool:
    """Return whether a table may not be read."""
    import pymysql

    try:
        current.ask(f"SELECT 1 FROM {table} LIMIT 0")
    except pymysql.MySQLError as error:
        return code_of(error) in NOT_GRANTED
    return False


def _of_grants(server: Server, user: _User, closed: Sequence[str]) -> Remark:
    """Return what a user needs that cannot read the tables, as statements."""
    statements = " ".join(f"GRANT SELECT ON {table} TO {user};" for table in closed)
    return Remark("fault", f"{server}: {user.name} may not read {', '.join(closed)}; run: {statements}")


def _all(server: Server) -> str:
    """Return how SQL names all tables of the database."""
    return f"{_short(server.database)}.*"


def _of_powers(current: Session, user: _User, tables: Sequence[str]) -> Iterator[Remark]:
    """Yield what a user may do besides reading, and the statements for a better one."""
    found = []
    for (line,) in current.ask("SHOW GRANTS"):
        privileges, where = match.groups() if (match := _GRANT.match(line)) else ("", "")
        names = [name for name in re.sub(r" ?\(.*?\)", "", privileges).split(", ") if name and name not in _READS]
        names += ["GRANT OPTION"] if line.endswith("GRANT OPTION") else []
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            found.append(f"{', '.join(names[:3])}{more} on {where.replace('`', '')}")
    if not found:
        return
    name = _User("sidebard" if user.name != "sidebard" else "sidebard_reader", user.host)
    statements = [
        f"CREATE USER {name} IDENTIFIED BY '...' WITH MAX_USER_CONNECTIONS 3;",
        *(f"GRANT SELECT ON {table} TO {name};" for table in tables),
    ]
    yield Remark(
        "warning",
        f"{current.server}: {user.name} may do more than read: {'; '.join(found)}. To create a user who may only read:"
        f" {' '.join(statements)}",
    )


def _of_engines(current: Session, tables: Sequence[str]) -> Iterator[Remark]:
    """Yield which tables are not of the moment that the others are of."""
    names = [table.rpartition(".")[2].strip("`") for table in tables]
    found = ", ".join(name for (name,) in current.ask(_WITHOUT_MOMENT, names)) if names else ""
    if found:
        yield Remark(
            "warning",
            f"{current.server}: {found} may not be consistent with the other tables, because the storage engine has"
            " no transactions; run ALTER TABLE ... ENGINE = InnoDB",
        )


def _short(name: str) -> str:
    """Return a name as SQL has it, quoted only if it must be."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else quote_name(name)
