from __future__ import annotations

import pytest

from appliance.service.backoff import DELAYS, PAUSE, SOON, Backoff
from appliance.service.heartbeat import Heartbeat
from appliance.service.refresh import Watch
from tests.factory import Timer


def test_waits_longer_after_each_start_that_came_to_nothing() -> None:
    backoff = Backoff(Timer())
    waits = [backoff.died(was_ready=False, lived=0.1) for _ in range(6)]
    assert waits == [*DELAYS, DELAYS[-1], DELAYS[-1]] == [1, 2, 5, 10, 10, 10]


def test_one_that_did_its_work_makes_the_next_wait_short_again() -> None:
    backoff = Backoff(Timer())
    backoff.died(was_ready=False, lived=0.1)
    assert backoff.died(was_ready=True, lived=SOON) == 0
    assert backoff.died(was_ready=True, lived=SOON - 1) == PAUSE
    assert backoff.died(was_ready=False, lived=0.1) == DELAYS[0]


def test_is_over_when_its_time_has_come() -> None:
    timer = Timer(100)
    backoff = Backoff(timer)
    assert backoff.over
    backoff.died(was_ready=False, lived=0.1)
    timer.now = 100.9
    assert not backoff.over
    timer.now = 101
    assert backoff.over


# (the time of a look, the beats by then, whether the process is stuck)
LOOKS = {
    "beats": [(1, 1, False), (2, 2, False), (30, 31, False)],
    "goes quiet": [(5, 5, False), (10, 5, False), (15, 5, False), (19, 5, False), (20.5, 5, True)],
    "never beats": [(5, 0, False), (10, 0, False), (15, 0, False), (16, 0, True)],
    "comes back": [(5, 5, False), (10, 5, False), (15, 5, False), (19, 6, False), (26, 6, False)],
    "all were stopped": [(5, 5, False), (500, 5, False), (507, 5, False), (514, 5, False), (516, 5, True)],
}


@pytest.mark.parametrize("looks", LOOKS.values(), ids=LOOKS)
def test_tells_a_stuck_process_from_a_stopped_world(looks: list[tuple[float, int, bool]]) -> None:
    timer = Timer()
    heartbeat = Heartbeat(timer, 15)
    for now, beats, stuck in looks:
        timer.now = now
        assert heartbeat.stuck(beats) is stuck, now


# (what the source looks like, whether it is imported, whether the import may be tried again)
POLLS = {
    "unchanged": ("a", [("a", False, False), ("a", False, False)]),
    "changed and at rest": ("a", [("b", False, False), ("b", True, False), ("b", False, False)]),
    "still being written": ("a", [("b", False, False), ("c", False, False), ("c", True, False)]),
    "no snapshot": ("", [("a", True, False), ("a", False, False)]),
    "refused for the file": ("", [("a", True, False), ("a", False, False), ("b", False, False), ("b", True, False)]),
    "refused for something else": (
        "a",
        [("b", False, False), ("b", True, True), ("b", True, True), ("b", True, False)],
    ),
}


@pytest.mark.parametrize(("imported", "polls"), POLLS.values(), ids=POLLS)
def test_imports_what_has_changed_and_come_to_rest(imported: str, polls: list[tuple[str, bool, bool]]) -> None:
    watch = Watch(imported)
    for signature, due, again in polls:
        assert watch.due(signature) is due
        if due:
            watch.ended(signature, again)
