"""What a check finds: whether something is right, and a sentence that says what, where, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Status(enum.StrEnum):
    """From the best to the worst. Of several findings the worst decides."""

    OK = "ok"
    NOT_CHECKED = "not_checked"
    WARNING = "warning"
    FAULT = "fault"


_ORDER = tuple(Status)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst; OK if there is none."""
    return max(statuses, key=_ORDER.index, default=Status.OK)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. The sentence contains no secret and no customer's value."""

    status: Status
    sentence: str


def ok(sentence: str) -> Finding:
    """Return a finding that something is right."""
    return Finding(Status.OK, sentence)


def warning(sentence: str) -> Finding:
    """Return a finding that something should be corrected, although the service works."""
    return Finding(Status.WARNING, sentence)


def fault(sentence: str) -> Finding:
    """Return a finding that something keeps the service from starting, or an agent from the card."""
    return Finding(Status.FAULT, sentence)


def not_checked(sentence: str) -> Finding:
    """Return a finding that something cannot be seen from here, and who can see it."""
    return Finding(Status.NOT_CHECKED, sentence)


@dataclass(frozen=True, slots=True)
class Result:
    """All that one check found."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The status of the worst finding."""
        return worst(finding.status for finding in self.findings)
