"""Which deadline has passed, for each phase and part of a request."""

from __future__ import annotations

import pytest

from appliance.config.schema import Limits
from appliance.edge.deadlines import LINGER_SECONDS, Overdue, find_overdue
from appliance.edge.phases import BLOCKED, CLOSING, LINGERING, READING, RUNNING, YIELDING, Phase
from appliance.edge.request_parser import BETWEEN, BODY, ENDED, HEAD, Part

LIMITS = Limits(idle_timeout=60.0, header_timeout=10.0, body_timeout=20.0, write_timeout=30.0)


@pytest.mark.parametrize(
    ("phase", "part", "unsent", "after", "overdue"),
    [
        (READING, BETWEEN, False, 60.0, Overdue.IDLE),
        (READING, HEAD, False, 10.0, Overdue.REQUEST_UNFINISHED),
        (READING, BODY, False, 20.0, Overdue.REQUEST_UNFINISHED),
        (CLOSING, ENDED, True, 30.0, Overdue.END_UNANSWERED),
        (CLOSING, ENDED, False, LINGER_SECONDS, Overdue.END_UNANSWERED),
    ],
    ids=["between", "head", "body", "closing, unsent", "closing"],
)
def test_deadline(phase: Phase, part: Part, unsent: bool, after: float, overdue: Overdue) -> None:
    assert find_overdue(LIMITS, phase, part, after, None, unsent) is overdue
    assert find_overdue(LIMITS, phase, part, after - 0.1, None, unsent) is None


@pytest.mark.parametrize("phase", [YIELDING, RUNNING, BLOCKED, LINGERING], ids=lambda phase: phase.name.lower())
def test_phases_that_wait_for_nothing_outside(phase: Phase) -> None:
    assert find_overdue(LIMITS, phase, BODY, 1e6, None, False) is None


@pytest.mark.parametrize("phase", [READING, RUNNING, BLOCKED, CLOSING], ids=lambda phase: phase.name.lower())
def test_a_client_that_does_not_read(phase: Phase) -> None:
    assert find_overdue(LIMITS, phase, BETWEEN, 0.0, 30.0, True) is Overdue.RESPONSES_UNREAD
    assert find_overdue(LIMITS, phase, BETWEEN, 0.0, 29.9, True) is None
