"""What goes wrong with any database server: why a fetch is refused, what to do, and whether the same may work later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query, Server


@dataclass(frozen=True)
class Fault:
    """What an error of a server means: why, and what to do; `transient` if the same may work the next time."""

    why: str
    todo: str
    transient: bool = True
    login_refused: bool = False

    def error(self, server: Server, *, query: Query | None = None, detail: str = "") -> SourceError:
        """Return it as a sentence. `detail` is what the server says, where that cannot hold a value of a row."""
        where = f"{server} ({query.section})" if query is not None else str(server)
        said = f" ({detail})" if detail else ""
        todo = self.todo.replace("customers.", f"{server.section}.")
        return SourceError(
            f"{where}: {self.why}{said}; {todo}", transient=self.transient, login_refused=self.login_refused
        )


CORRECT_QUERY: Final = "correct the query"
LATER: Final = "it will be tried again"
_NETWORK: Final = "check the network and the server"

UNREACHABLE: Final = Fault("cannot be reached", "check the address, and that the server accepts connections from here")
NO_ANSWER: Final = Fault("the server did not answer in time", _NETWORK)
STALLED: Final = Fault("the server stopped sending data", _NETWORK)
CLOSED: Final = Fault("the connection was lost", LATER)
NO_TLS: Final = Fault("the server does not offer TLS", 'enable it there, or set customers.tls = "off"', False)
UNTRUSTED: Final = Fault(
    "the server's certificate is not trusted", "set customers.ca, or correct the host name", transient=False
)
NO_DATABASE: Final = Fault("the server has no such database", "correct customers.source", transient=False)
NO_COLUMN: Final = Fault("there is no such column", CORRECT_QUERY, transient=False)
NOT_READABLE: Final = Fault("this user lacks a privilege", "grant it, such as SELECT on the table", transient=False)
REFUSED: Final = Fault("the server rejected the query", CORRECT_QUERY, transient=False)
WRITES: Final = Fault("the query tries to write", "use a query that only reads", transient=False)
TOO_LONG: Final = Fault("the query took too long", "add an index, or raise customers.timeout")
LOCKED: Final = Fault("a table is locked", LATER)
FULL: Final = Fault("the server is out of memory or disk space", "look at the server's log")
NOT_COMPUTED: Final = Fault("the query fails on a value in some row", "correct the query or that row")
_UNKNOWN: Final = Fault("the server rejected the query", "look at the server's log")


def fault_of(code: str, table: Mapping[str, Fault]) -> Fault:
    """Return what a code means: by itself, or by the class that its first two characters name."""
    return table.get(code) or table.get(code[:2]) or _UNKNOWN
