"""What a line costs, how long it may be, and how many refusals are told."""

from __future__ import annotations

import json
import timeit

import pytest

from appliance.edge.refusals import Refusal
from appliance.observe import logs
from appliance.observe.logs import MAX_REFUSALS, RequestLog, Stamp
from appliance.observe.writer import MAX_PIECE
from appliance.outcomes import Outcome, Reply, Response
from appliance.sidebar.protocols.base import BAD_SIGNATURE
from tests.conftest import Logged
from tests.factory import Timer
from tests.server import Lines

NOW = 1_790_000_000.25
FOUND = Reply(Response(200, b"12345", "text/html"), Outcome.FOUND, cache="hit", conversation=7, customer="abc")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (NOW, "2026-09-21T14:13:20.250000Z"),
        (1_790_000_000.9999996, "2026-09-21T14:13:20.999999Z"),
        (1_790_000_000.0000004, "2026-09-21T14:13:20.000000Z"),
        (951_827_696.5, "2000-02-29T12:34:56.500000Z"),
    ],
)
def test_stamps_as_iso_8601_whatever_came_before(seconds: float, text: str) -> None:
    timer = Timer(seconds)
    stamp = Stamp(timer)
    assert stamp() == text
    timer.now = seconds + 1000
    assert stamp() != text
    timer.now = seconds
    assert stamp() == text


def test_refusals_are_told_ten_times_a_second_and_then_counted(logged: Logged) -> None:
    stream, clock = Lines(), Timer(NOW)
    log = RequestLog(stream, clock)
    for _ in range(25):
        log.write(BAD_SIGNATURE, "helpscout", 1, "127.0.0.1")
        log.write(Refusal.NOT_FOUND.reply, "", 1, "127.0.0.1")
        log.write(FOUND, "helpscout", 1, "127.0.0.1")
    log.tick()
    lines = [json.loads(line)["status"] for line in stream.getvalue().splitlines()]
    assert lines.count(200) == 25
    assert len(lines) == 25 + MAX_REFUSALS
    clock.now += 1
    log.tick()
    told = logged.take("refusals_not_logged")
    assert told["count"] == 40
    assert told["outcomes"] == {"bad_signature": 20, "not_found": 20}
    log.tick()
    log.write(Refusal.NOT_FOUND.reply, "", 1, "127.0.0.1")
    assert len(stream.getvalue().splitlines()) == 25 + MAX_REFUSALS + 1


@pytest.mark.parametrize(
    "facts",
    [
        {"why": "w" * 10_000},
        {"bad": [f"file:{number}: a reason" for number in range(5000)]},
        {"bad": ["b" * 1000] * 100, "why": "w" * 5000},
        {f"fact{number}": "f" * 1000 for number in range(500)},
    ],
    ids=["text", "list", "both", "many"],
)
def test_an_event_is_never_longer_than_what_is_written_whole(logged: Logged, facts: dict[str, object]) -> None:
    logs.log.error("long", **facts)
    assert len(logged.stream.getvalue()) <= MAX_PIECE
    line = logged.take("long")
    assert line["shortened"] is True
    assert line["level"] == "error"


def test_a_line_costs_little() -> None:
    log = RequestLog(Lines(), Timer(NOW))
    best = min(timeit.repeat(lambda: log.write(FOUND, "helpscout", 321, "127.0.0.1"), number=5000, repeat=5)) / 5000
    assert best < 20e-6  # 3 on a quiet machine
