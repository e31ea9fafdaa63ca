"""What a check says: whether something is right, and a sentence that says what, where, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Status(enum.StrEnum):
    """How it stands, the best first. Of several findings the last in this order decides."""

    OK = "ok"
    NOT_CHECKED = "not_checked"
    WARNING = "warning"
    FAULT = "fault"


_ORDER = tuple(Status)


def worst(statuses: Iterable[Status]) -> Status:
    """Give the worst of some; OK for none."""
    return max(statuses, key=_ORDER.index, default=Status.OK)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. The sentence holds no secret and no customer's value."""

    status: Status
    sentence: str


def ok(sentence: str) -> Finding:
    """Say what is right."""
    return Finding(Status.OK, sentence)


def warning(sentence: str) -> Finding:
    """Say what should be mended and is served all the same."""
    return Finding(Status.WARNING, sentence)


def fault(sentence: str) -> Finding:
    """Say what keeps the service from starting, or an agent from the card."""
    return Finding(Status.FAULT, sentence)


def not_checked(sentence: str) -> Finding:
    """Say what cannot be seen from here, and who can see it."""
    return Finding(Status.NOT_CHECKED, sentence)


@dataclass(frozen=True, slots=True)
class Result:
    """All that one check found."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst finding's."""
        return worst(finding.status for finding in self.findings)
