"""What is wrong with a template, found by rendering it with real customers before an agent does.

The customers it gets note every column that is asked for and is not there, and go on with nothing: so one rendering
names them all. Each customer is also shown with a blank row where a related table has none, so that what a template
does with related rows is looked at too.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from appliance.cards.help_scout_html import clean
from appliance.cards.template import CardTemplate, TemplateError
from appliance.cards.vary import Vary
from appliance.customers.record import Columns, Record, Rows, fields_of, related_of
from appliance.customers.snapshot import Relation

MAX_FAULTS: Final = 20
_ADDRESS: Final = "ann@example.com"
_ROLES: Final = ("owner", "admin", "user")


def faults_of(
    template: CardTemplate,
    records: Iterable[Record],
    relations: Sequence[Relation],
    *,
    vary: Vary,
    as_of: datetime,
    now: datetime,
) -> tuple[str, ...]:
    """Return what is wrong with a template, a sentence each with file and line, when it shows these customers.

    `records` are of one snapshot, and `relations` its related tables. None of the sentences holds a value of theirs.
    """
    notes = _Notes(template)
    varied = [vary.parts(values) for values in _candidates(vary)]
    for record in records:
        for blank_rows in (False, True):
            watched = _watch(record, relations, notes, blank_rows=blank_rows)
            for parts in varied:
                noted = notes.count
                try:
                    template.render((watched,), (_ADDRESS,), as_of, lambda: now, parts)
                except TemplateError as fault:
                    # Nobody's rows are like the blank ones; and what a missing column leads to says nothing new.
                    if not blank_rows and notes.count == noted:
                        notes.add(str(fault))
    return tuple(notes.faults)


def is_always_blank(
    template: CardTemplate, records: Sequence[Record], *, vary: Vary, as_of: datetime, now: datetime, cleaned: bool
) -> bool:
    """Return whether the card shows nothing for any of these customers; `cleaned` as the help desk does."""
    for parts in [vary.parts(values) for values in _candidates(vary)]:
        for record in records:
            try:
                html = template.render((record,), (_ADDRESS,), as_of, lambda: now, parts)
            except TemplateError:
                return False
            if html.strip() and not (cleaned and clean(html).is_blank):
                return False
    return bool(records)


def _candidates(vary: Vary) -> Iterator[list[str]]:
    """Return values for what the template reads of a request: cards mostly differ by the agent's role."""
    for role in _ROLES if "user.role" in vary.names else ("",):
        yield [role if name == "user.role" else "1" for name in vary.names]


class _Notes:
    """The faults that were found, each once, and how many there were."""

    def __init__(self, template: CardTemplate) -> None:
        self._template = template
        self.faults: dict[str, None] = {}
        self.count = 0

    def add(self, fault: str) -> None:
        self.count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults[fault] = None

    def missing(self, name: str, known: Sequence[str]) -> None:
        """Note a column that is not there, at the line of the template that asks for it."""
        near = difflib.get_close_matches(name.lower(), known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
        self.add(f'{self._template.place_in(sys._getframe())}: there is no column "{name}"; {hint}')


class _Watched(Record):
    """A customer that notes what it has not."""

    __slots__ = ("_notes",)

    def __init__(self, columns: Columns, values: Sequence[str], related: dict[str, Rows], notes: _Notes) -> None:
        super().__init__(columns, values, related)
        self._notes = notes

    def __getattr__(self, name: str) -> str | Rows:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):  # Python itself asks
                raise
            self._notes.missing(name, [*self._columns.attributes, *self._related])
            return ""

    def __getitem__(self, name: str) -> str:
        try:
            return super().__getitem__(name)
        except KeyError:
            self._notes.missing(name, self._columns.names)
            return ""


def _watch(record: Record, relations: Sequence[Relation], notes: _Notes, *, blank_rows: bool) -> _Watched:
    """Return a record that notes; with one blank row in each related table that has none, if `blank_rows`."""
    names, values = zip(*fields_of(record), strict=True)
    related: dict[str, Rows] = {}
    for relation in relations:
        columns = Columns(relation.columns)
        rows = [[value for _, value in fields_of(row)] for row in related_of(record, relation.name)]
        if blank_rows and not rows:
            rows = [[""] * len(relation.columns)]
        related[relation.name] = Rows(_Watched(columns, row, {}, notes) for row in rows)
    return _Watched(Columns(names), values, related, notes)
