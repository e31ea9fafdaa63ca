"""What a line costs, how long it may be, and how many refusals are told."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo

import pytest

from appliance.edge.refusals import Refusal
from appliance.observe import logs
from appliance.observe.logs import MAX_REFUSALS, RequestLog, RequestSinks, TimestampFormatter
from appliance.observe.writer import MAX_PIECE
from appliance.outcomes import Outcome, Reply, Response
from appliance.sidebar.protocols.base import BAD_SIGNATURE
from tests.conftest import Logged
from tests.factory import Timer
from tests.fakes import RecordingSink
from tests.server import Lines

NOW = 1_790_000_000.25
FOUND = Reply(Response(200, b"12345", "text/html"), Outcome.FOUND, cache="hit", conversation=7, customer="abc")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (NOW, "2026-09-21T14:13:20.250Z"),
        (1_790_000_000.9999996, "2026-09-21T14:13:20.999Z"),
        (1_790_000_000.0000004, "2026-09-21T14:13:20.000Z"),
        (951_827_696.5, "2000-02-29T12:34:56.500Z"),
    ],
)
def test_stamps_as_iso_8601_whatever_came_before(seconds: float, text: str) -> None:
    timer = Timer(seconds)
    stamp = TimestampFormatter(timer)
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


def test_every_sink_is_told_in_order() -> None:
    first, second = RecordingSink(), RecordingSink()
    RequestSinks([first, second]).write(FOUND, "helpscout", 321, "127.0.0.1")
    assert first.lines == second.lines == [(FOUND, "helpscout", "127.0.0.1")]


def test_a_line_formats_no_date_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date is what takes time in a line."""
    formatted: list[int] = []

    class Counted(datetime):
        @classmethod
        def fromtimestamp(cls, second: int, zone: tzinfo) -> datetime:  # type: ignore[override]
            formatted.append(second)
            return datetime.fromtimestamp(second, zone)

    monkeypatch.setattr(logs, "datetime", Counted)
    clock = Timer(NOW)
    log = RequestLog(Lines(), clock)
    for _ in range(100):
        log.write(FOUND, "helpscout", 321, "127.0.0.1")
    clock.now += 1
    log.write(FOUND, "helpscout", 321, "127.0.0.1")
    assert formatted == [int(NOW), int(NOW) + 1]
