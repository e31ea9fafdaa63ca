"""Order numbers, licence keys and the like in a conversation's subject, for when no address is known.

Anybody writes subjects, so what reads them must take no longer for a hostile one: patterns are RE2's, whose time grows
with the length of the subject and with nothing else, and only the beginning of a subject is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from appliance.customers.keys import key_of

MAX_SUBJECT: Final = 500
MAX_NAMED: Final = 5
_MAX_MATCHES: Final = 50


class Match(Protocol):
    """What a pattern has found."""

    def group(self, number: int, /) -> str | None:
        """Return the text of a group; 0 is the whole."""
        ...


class Pattern(Protocol):
    """A compiled pattern, with one group or none."""

    @property
    def groups(self) -> int:
        """How many groups it has."""
        ...

    def finditer(self, text: str, /) -> Iterator[Match]:
        """Return every match."""
        ...


@dataclass(frozen=True, slots=True)
class SubjectRule:
    """What `pattern` finds is looked up in `column`, one of the snapshot's `keys`, which agents know as `title`."""

    pattern: Pattern
    column: str
    title: str


@dataclass(frozen=True, slots=True)
class SubjectMatch:
    """A value that a subject names: as it stands there, and as it is looked up."""

    column: str
    key: str
    title: str
    value: str


def match_subject(subject: str, rules: Sequence[SubjectRule]) -> tuple[SubjectMatch, ...]:
    """Return what a subject names, each once, by the first rules first; at most MAX_NAMED."""
    if not subject:
        return ()
    text = subject[:MAX_SUBJECT]
    named: dict[tuple[str, str], SubjectMatch] = {}
    for rule in rules:
        for match, _ in zip(rule.pattern.finditer(text), range(_MAX_MATCHES), strict=False):
            value = (match.group(rule.pattern.groups) or "").strip()
            if (key := key_of(value)) is not None:
                named.setdefault((rule.column, key), SubjectMatch(rule.column, key, rule.title, value))
    return tuple(named.values())[:MAX_NAMED]
