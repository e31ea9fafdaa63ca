"""The status of several findings."""

from __future__ import annotations

from appliance.checks.finding import Status, worst


def test_the_worst_decides() -> None:
    assert worst([]) is Status.OK
    assert worst([Status.NOT_CHECKED, Status.OK]) is Status.NOT_CHECKED
    assert worst([Status.WARNING, Status.FAULT, Status.NOT_CHECKED]) is Status.FAULT
