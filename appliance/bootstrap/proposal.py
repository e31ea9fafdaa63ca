"""What `sidebard init` proposes: from the columns and first rows of tables to the text of a config, without any I/O.

tables --choose--> Choice: customers, address columns, id column, related tables
                   Choice + what the operator says = Proposal --render--> sidebard.toml
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from appliance.customers.address_cell import read_cell
from appliance.customers.column_name import name_key
from appliance.ingest.sources.base import SourceError
from appliance.ingest.table import Table, holds_addresses

_FEW: Final = 10
"""With fewer addresses than this in a column it says nothing that one occurs twice."""

_CUSTOMER_WORDS: Final = ("customer", "client", "user", "account", "member", "contact", "owner", "buyer", "kunde")
"""What a column is called, alone or before the name of the customers' key, that says whose a row is."""

_TITLE: Final = (
    "# Written by sidebard init. All settings: /usr/share/doc/sidebard/sidebard.toml, or conf/sidebard.toml in a clone."
)
_USUAL_TABLE: Final = "customers"
_ID: Final = re.compile(r"[1-9][0-9]{0,19}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Related:
    """A table whose `key` is the customers' column `on`."""

    name: str
    table: Table
    key: str
    on: str
    order_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which table and columns are which."""

    customers: Table
    addresses: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Columns of addresses that are not the customers' own, because the same few occur again and again."""

    id_column: str = ""
    """The column that looks like Help Scout's id of the customer; "" if there is none."""

    related: tuple[Related, ...] = ()

    @property
    def first_address(self) -> str:
        """The address of the first customer that has one; "" if none of the rows that were looked at has."""
        indexes = [self.customers.columns.index(name) for name in self.addresses]
        cells = (read_cell(row[index]) for row in self.customers.rows for index in indexes)
        return next((cell.addresses[0] for cell in cells if cell.addresses), "")

    @property
    def odd_text(self) -> str:
        """A cell by which the encoding can be judged, where it had to be assumed."""
        cells = (text for row in self.customers.rows for text in row if not text.isascii())
        return next(cells, "") if self.customers.encoding else ""


def choose(tables: Sequence[Table], others: Iterable[Table] = ()) -> Choice:
    """Choose the customers among the tables of a source, and what is related to them there and among `others`.

    Raises SourceError if no table has a column of addresses.
    """
    preferred = sorted(tables, key=lambda table: name_key(table.name) != _USUAL_TABLE)
    customers = next((table for table in preferred if _address_columns(table)[0]), None)
    if customers is None:
        raise SourceError(
            f"{tables[0].source} has no column in which most cells are email addresses; add one, with a header above it"
        )
    addresses, left_out = _address_columns(customers)
    related: dict[str, Related] = {}
    for other in (*tables, *others):
        found = _relation(customers, other) if other is not customers else None
        if found is not None:
            related.setdefault(found.name, found)
    return Choice(
        customers=customers,
        addresses=addresses,
        left_out=left_out,
        id_column=next((name for name in customers.columns if _is_help_scout_id(customers, name)), ""),
        related=tuple(related.values()),
    )


def _address_columns(table: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the customers' own addresses, and other columns with addresses.

    An account manager's address occurs in many rows: it is nobody's own. Of the rest, those count that are called
    mail; or else the first. If there are no rows, the names alone decide.
    """
    if not table.rows:
        return tuple(name for name in table.columns if "mail" in name_key(name)), ()
    holding = [name for name in table.columns if (cells := table.column(name)) and holds_addresses(cells)]
    own = [name for name in holding if _is_varied(table.column(name))] or holding
    named = [name for name in own if "mail" in name_key(name)]
    chosen = tuple(named or own[:1])
    return chosen, tuple(name for name in holding if name not in chosen)


def _is_varied(cells: Sequence[str]) -> bool:
    return len(cells) < _FEW or len(set(cells)) * 2 >= len(cells)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name_key(name)))


def _is_help_scout_id(table: Table, name: str) -> bool:
    letters = _letters(name)
    is_called_so = letters.startswith("helpscout") and letters.endswith("id")
    return is_called_so and all(map(_ID.fullmatch, table.column(name)))


def _relation(customers: Table, other: Table) -> Related | None:
    """Return how the rows of another table belong to customers, by the names and contents of its columns."""
    name = re.sub(r"[^a-z0-9]+", "_", (other.name or PurePath(other.source).stem).lower()).strip("_")
    taken = set(map(name_key, customers.columns))
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name in taken or not _is_read_alike(customers, other):
        return None
    for key in other.columns:
        for on in customers.columns:
            if _is_called_for(key, on, customers) and _has_values_of(other.column(key), customers, on):
                return Related(name, other, key, on, _order_of(other))
    return None


def _is_read_alike(customers: Table, other: Table) -> bool:
    """Return whether the customers' encoding, which the config has for all files, is also right for this one."""
    is_ascii = other.whole and all(text.isascii() for row in other.rows for text in row)
    return other.encoding == customers.encoding or (not other.encoding and is_ascii)


def _is_called_for(key: str, on: str, customers: Table) -> bool:
    """Return whether the name of a key says that it holds what is in the customers' column `on`."""
    key, on = _letters(key), _letters(on)
    table = _letters(customers.name or PurePath(customers.source).stem)
    words = {*_CUSTOMER_WORDS, table, table.removesuffix("s")}
    return key in words or key in {f"{word}{on}" for word in words} or (key == on and on != "id")


def _has_values_of(cells: Sequence[str], customers: Table, on: str) -> bool:
    """Return whether half of these cells, or more, are values of the customers' column, which has each only once.

    If not all rows were looked at, one in twenty is enough.
    """
    values = customers.column(on)
    if not cells or len(set(values)) < len(values):
        return False
    found = sum(map(set(values).__contains__, cells))
    return found * (2 if customers.whole else 20) >= len(cells)


def _order_of(table: Table) -> str:
    """Return the first column of dates, the newest first; "" without one."""
    dates = (name for name in table.columns if (cells := table.column(name)) and all(map(_DATE.fullmatch, cells)))
    found = next(dates, "")
    return f"-{found}" if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A config, before it is written. Files are named as the config is to name them."""

    choice: Choice
    secret: str
    """The name of the secret's file, beside the config."""

    password: str = ""
    """Where the password of a database is, as the config says it."""

    state: str = ""
    listen: str = ""
    domains: tuple[str, ...] = ()
    """The names for which certificates are obtained automatically."""

    certificate: tuple[str, str] | None = None
    """The files of the certificate and its key."""

    card: str = ""
    vary: tuple[str, ...] = ()
    admin: str | None = None
    """Where the status page listens; "" for nowhere, None for the default."""

    def render(self, place: dict[str, str] | None = None) -> str:
        """Return the text of the config; `place` has other names for files, and for the password."""
        tables = [*self._server(), *self._tls(), *self._customers(place or {}), *self._related(place or {})]
        if self.admin is not None:
            tables += ["[admin]", f"listen = {_text(self.admin)}", ""]
        if self.choice.id_column:
            tables += ["[helpscout]", f"column = {_text(self.choice.id_column)}", ""]
        tables += ["[[app]]", f"secrets = [{_text(f'file:{self.secret}')}]"]
        tables += [f"card = {_text((place or {}).get(self.card, self.card))}"] if self.card else []
        tables += [f"vary = [{', '.join(map(_text, self.vary))}]"] if self.vary else []
        tables += ["[app.page]  # the same URL is for apps of Help Scout's current platform, and for its webhooks"]
        return "\n".join([_TITLE, "", *tables, ""])

    def _server(self) -> list[str]:
        keys = [f"state = {_text(self.state)}"] if self.state else []
        if self.listen:
            keys.append(f"listen = [{_text(self.listen)}]  # for testing; Help Scout needs 0.0.0.0:443")
        return ["[server]", *keys, ""] if keys else []

    def _tls(self) -> list[str]:
        if self.domains:
            return ["[acme]", f"domains = [{', '.join(map(_text, self.domains))}]", ""]
        if self.certificate is None:
            return []
        certificate, key = self.certificate
        return ["[tls]", f"certificate = {_text(certificate)}", f"key = {_text(key)}", ""]

    def _customers(self, place: dict[str, str]) -> list[str]:
        choice, table = self.choice, self.choice.customers
        keys = [f"source = {_text(place.get(table.source, table.source))}"]
        keys += [f"table = {_text(table.name)}"] if table.name else []
        keys += [f"password = {_text(place.get(self.password, self.password))}"] if self.password else []
        keys.append(f"addresses = [{', '.join(map(_text, choice.addresses))}]")
        if table.encoding:
            keys.append(f"encoding = {_text(table.encoding)}")
        if table.skip_lines:
            keys.append(f"skip_lines = {table.skip_lines}")
        if any(each.lacks_last_end for each in (table, *(related.table for related in choice.related))):
            keys.append('unterminated_last_line = "accept"  # the last line has no line end')
        return ["[customers]", *keys, ""]

    def _related(self, place: dict[str, str]) -> list[str]:
        lines: list[str] = []
        for each in self.choice.related:
            source = each.table.source
            lines += [f"[related.{each.name}]", f"source = {_text(place.get(source, source))}"]
            lines += [f"table = {_text(each.table.name)}"] if each.table.name not in ("", each.name) else []
            lines += [f"key = {_text(each.key)}", f"on = {_text(each.on)}"]
            lines += [f"order_by = {_text(each.order_by)}"] if each.order_by else []
            lines += [f"skip_lines = {each.table.skip_lines}"] if each.table.skip_lines else []
            lines.append("")
        return lines


def _text(text: str) -> str:
    """Return a text as TOML writes it: as JSON does, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
