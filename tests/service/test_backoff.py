"""How long the next start waits."""

from __future__ import annotations

from appliance.service.backoff import DELAYS, PAUSE, SOON, Backoff
from tests.factory import Timer


def test_waits_longer_after_each_start_that_came_to_nothing() -> None:
    backoff = Backoff(Timer())
    waits = [backoff.record_exit(was_ready=False, lived=0.1) for _ in range(6)]
    assert waits == [*DELAYS, DELAYS[-1], DELAYS[-1]] == [1, 2, 5, 10, 10, 10]


def test_one_that_did_its_work_makes_the_next_wait_short_again() -> None:
    backoff = Backoff(Timer())
    backoff.record_exit(was_ready=False, lived=0.1)
    assert backoff.record_exit(was_ready=True, lived=SOON) == 0
    assert backoff.record_exit(was_ready=True, lived=SOON - 1) == PAUSE
    assert backoff.record_exit(was_ready=False, lived=0.1) == DELAYS[0]


def test_is_over_when_its_time_has_come() -> None:
    timer = Timer(100)
    backoff = Backoff(timer)
    assert backoff.is_over
    backoff.record_exit(was_ready=False, lived=0.1)
    timer.now = 100.9
    assert not backoff.is_over
    timer.now = 101
    assert backoff.is_over
