"""Whether the columns that `[app.display]` names are in the data: with a typing error, a column is missing in the card.

The config is valid all the same, since the header may change with every export. So `sidebard check` reports it, and the
service when it has new data; the card omits what is missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Protocol

from appliance.cards.layout import PLACE
from appliance.config.files import with_line_numbers
from appliance.config.lines import KeyPath
from appliance.config.reader import Fault, dotted
from appliance.config.schema import App, Settings
from appliance.customers.keys import split
from appliance.customers.record import Columns
from appliance.customers.snapshot import Relation


class Tables(Protocol):
    """The columns of the customers and of their related tables: a snapshot's metadata, or a dry run."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The customers' columns."""

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The related tables."""


def column_faults(settings: Settings, facts: Tables) -> tuple[Fault, ...]:
    """Return every name in the apps' `[app.display]` that is not a column, with its line and a suggestion."""
    tables = {relation.name: Columns(relation.columns) for relation in facts.relations}
    columns = {"": Columns(facts.columns), **tables}
    known = [*facts.columns, *tables, *(f"{table}.{name}" for table in tables for name in tables[table].names)]
    faults: list[Fault] = []
    for app in settings.apps:
        missing = []
        for path, table, name in _names(app, list(tables)):
            if columns[table].find_index(name) is None:
                near = difflib.get_close_matches(f"{table}.{name}" if table else name, known, 1)
                todo = f'did you mean "{near[0]}"?' if near else f"the columns are {', '.join(known)}"
                whose = f"[related.{table}]" if table else "the customers"
                why = f'"{name}" is not a column of {whose}'
                missing.append((path, Fault(None, None, dotted(path), why, None, todo)))
        faults += with_line_numbers(app.file, missing)
    return tuple(faults)


def _names(app: App, tables: list[str]) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield every column that an app's display names: where, its related table ("" for the customers), and its name."""
    display, above = app.display, ("app", app.index, "display")
    named: list[tuple[KeyPath, str]] = [((*above, "columns", at), name) for at, name in enumerate(display.columns)]
    named += [((*above, "titles", name), name) for name, _ in display.titles]
    for path, name in named:
        if name.casefold() not in map(str.casefold, tables):
            yield path, *split(name, tables)
    for name, pattern in display.links:
        table, column = split(name, tables)
        for one in (column, *PLACE.findall(pattern)):
            yield (*above, "links", name), table, one
    if display.url_column:
        yield (*above, "url_column"), "", display.url_column
