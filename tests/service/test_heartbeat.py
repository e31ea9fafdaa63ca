"""Which process is stuck."""

from __future__ import annotations

import pytest

from appliance.service.heartbeat import Heartbeat
from tests.factory import Timer

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
        assert heartbeat.is_stuck(beats) is stuck, now
