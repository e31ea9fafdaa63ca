"""A result as text."""

import pytest

from appliance.replay.text import HEIGHT, WIDTH, as_text, plot
from appliance.replay.timeline import Timeline
from tests.replay.summed import GOOD, PROFILE, part, summed


def test_text():
    assert as_text(summed(*GOOD, part(2, 40_000, statuses={200: 1}, opened=3, waited=0))).splitlines() == [
        "https://card.example: 10.0 s, 100 requests/s planned, 4 kept connections, from 2 processes",
        "",
        "requests      5 answered, 0.5 per second, 1,000 planned",
        "latency       p50 2.00, p75 3.00, p90 40.0, p99 40.0, p99.9 40.0, p99.99 40.0, max 40.0 ms,"
        " from the planned start",
        "statuses      200: 5",
        "wrong         0",
        "failed        0",
        "not started   0",
        "started late  0 waiting for a free connection, 0 by the load generator",
        "connections   3 opened during the run",
        "generator     busiest process at 10% of a CPU",
        "",
        "latency over time: █ p50, ░ p99",
        "40.0 ms |  █",
        *["        |  █"] * 6,
        "        |░ █",
        "      0 +---",
        "         0 1.5 s",
    ]


@pytest.mark.parametrize("count", [1, 2, 59, 60, 61, 1800])
def test_a_plot_has_a_width(count):
    timeline = Timeline(PROFILE)
    for place in range(count):
        timeline.add(part(place, 10_000, 1000 if place != count // 2 else 90_000), 1)
    lines = plot(timeline.points)
    assert len(lines) == HEIGHT + 3
    assert max(map(len, lines[1:-1])) <= WIDTH + len("90.0 ms |")
    assert lines[1].startswith("90.0 ms |")
    assert lines[1].count("░") == 1  # the worst of a column is what is seen
