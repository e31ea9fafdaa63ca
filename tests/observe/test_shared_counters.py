"""The shared counters: who may add, and what is summed."""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from appliance.observe.shared_counters import BUCKETS, CauseCount, SharedCounters
from appliance.outcomes import Cause, Outcome
from tests.observe.examined import health


def test_sums_over_all_rows_also_those_of_other_processes() -> None:
    shared = SharedCounters(["one", "two"], 2)
    for place in range(shared.places):
        pid = os.fork()
        if pid == 0:
            row = shared.worker(place)
            counters = row.counters
            for _ in range(place + 1):
                counters.request("one", Outcome.FOUND, "hit", 0.0002)
                counters.connection_opened()
            counters.request("", Outcome.NOT_FOUND, "", 0.3)
            counters.connection_closed()
            counters.handshake_failed()
            counters.header_refused()
            counters.accept_rejected()
            counters.connection_dropped()
            counters.lines_dropped(100)
            row.status.generation = 7
            row.status.ready = place < 2
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    totals = shared.totals()
    assert totals.requests["one", Outcome.FOUND] == 1 + 2 + 3 + 4
    assert totals.requests["", Outcome.NOT_FOUND] == 4
    assert sum(totals.requests.values()) == 14
    assert (totals.opened, totals.open) == (10, 6)
    assert (totals.handshakes_failed, totals.headers_refused, totals.rejected) == (4, 4, 4)
    assert (totals.dropped, totals.lines_dropped) == (4, 400)
    assert (totals.ready, totals.generations) == (2, (7, 7))
    assert totals.durations["hit"].cumulative == (*(0,) * 4, *(10,) * (len(BUCKETS) - 3))
    assert totals.durations["hit"].seconds == pytest.approx(10 * 0.0002)
    assert totals.durations[""].seconds == pytest.approx(4 * 0.3)


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-1e-9, 0), (0.0, 0), (0.00001, 0), (0.000011, 1), (5.0, 17), (5.1, 18), (1e6, 18)]
)
def test_a_duration_counts_up_to_its_bound(seconds: float, bucket: int) -> None:
    shared = SharedCounters(["one"], 1)
    shared.worker(0).counters.request("one", Outcome.FOUND, "miss", seconds)
    assert shared.totals().durations["miss"].cumulative.index(1) == bucket


def test_a_row_that_changes_hands_keeps_its_counts_and_no_state() -> None:
    shared = SharedCounters(["one"], 1)
    row = shared.worker(0)
    row.counters.connection_opened()
    row.counters.trail_waiting, row.counters.trail_error = 3, 28
    row.status.ready = row.status.initial_import_done = True
    row.status.generation = 7
    row.status.beat()
    row.reset_gauges()
    totals = shared.totals()
    assert (totals.open, totals.opened, totals.ready) == (0, 1, 0)
    assert (row.status.beats, row.status.initial_import_done, row.status.generation) == (0, False, 0)
    assert (row.counters.trail_waiting, row.counters.trail_error) == (0, 0)


class CountingWords:
    """Words that count how often they are read and written."""

    def __init__(self, words: memoryview) -> None:
        self.words, self.steps = words, 0

    def __getitem__(self, word: int) -> int:
        self.steps += 1
        return self.words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self.steps += 1
        self.words[word] = value


@pytest.mark.parametrize("apps", [1, 100], ids=["one app", "a hundred apps"])
def test_counting_a_request_takes_three_additions_however_many_apps_there_are(apps: int) -> None:
    names = [f"app{number}" for number in range(apps)]
    counters = SharedCounters(names, 2).worker(1).counters
    words = CountingWords(counters._words)
    counters._words = words  # type: ignore[assignment]
    counters.request("app0", Outcome.FOUND, "hit", 0.0002)
    assert words.steps == 6


def test_refusals_by_app_and_cause() -> None:
    shared = SharedCounters(["one", "two"], 2)
    for place, app, cause, now in (
        (0, "one", Cause.HEX, 1000.9),
        (1, "one", Cause.HEX, 900.0),
        (1, "two", Cause.UNKNOWN, 950.0),
    ):
        shared.worker(place).counters.refusal(app, cause, now)
    found = shared.totals().refusals
    assert found == {("one", Cause.HEX): CauseCount(2, 1000), ("two", Cause.UNKNOWN): CauseCount(1, 950)}
    told = health(refusals=found)
    assert told.reasons == []  # anybody can send a wrong signature
    assert json.loads(msgspec.json.encode(told.refusals)) == {
        "one": {"hex": {"count": 2, "last": 1000}},
        "two": {"unknown": {"count": 1, "last": 950}},
    }
