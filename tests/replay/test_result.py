"""From what the processes report to a result: its figures, and whether it has passed."""

import msgspec
import pytest

from appliance.replay.interval_stats import OTHER_BODY, Ended, Wrong
from appliance.replay.report import as_page
from appliance.replay.result import LoadTestResult, show_ms
from appliance.replay.text import as_text
from tests.replay.summed import ENDS, GOOD, part, summed


def test_all_processes_are_put_together():
    result = summed(*GOOD, ends=[Ended(1, 2.0, 10.0), Ended(2, 5.0, 10.5)])
    assert (result.answered, result.statuses, result.not_started) == (4, {200: 4}, 3)
    assert (result.latency["p50"], result.latency["max"]) == (1.0, 3.0)
    assert [(point.at, point.answers, point.largest) for point in result.points] == [(0.5, 3, 3.0), (1.0, 1, 0.5)]
    assert result.answers_per_second == pytest.approx(4 / 10.5, abs=0.1)
    assert result.generator_cpu == 0.476
    assert result.is_good


@pytest.mark.parametrize(
    ("parts", "more", "fault"),
    [
        (GOOD, {"max_p99": 0.002}, "p99 is 3.00 ms, over the 2 ms of --max-p99"),
        (GOOD, {"max_p99": 0.009, "ends": [Ended(50, 1, 10)]}, "p99 is over the 9 ms of --max-p99: 50 requests were"),
        (GOOD, {"interrupted": True}, "interrupted"),
        ((), {}, "nothing was answered"),
        (
            (part(0, 1, wrong={"odd": Wrong(2, 17)}), part(0, 1, wrong={"odd": Wrong(3, 5)})),
            {},
            "wrong: odd: 5 times, the first to line 17",
        ),
        ((*GOOD, part(2, failures={"refused": 1200})), {}, "failed: refused: 1,200 times"),
    ],
    ids=["slow", "too slow to be started", "interrupted", "silent", "wrong", "failed"],
)
def test_faults(parts, more, fault):
    result = summed(*parts, **more)
    assert any(one.startswith(fault) for one in result.faults)
    assert not result.is_good
    assert f"FAULT: {fault}" in as_text(result)


@pytest.mark.parametrize(
    ("parts", "more", "note"),
    [
        ((*GOOD, part(2, late=1)), {}, "the load generator itself started 25% of the requests late"),
        ((*GOOD, part(2, waited=1)), {}, "25% of the requests waited for a free connection"),
        (GOOD, {"ends": [Ended(0, 9.5, 10.0)]}, "a process of the load generator used 95% of a CPU"),
        (GOOD, {"ends": [Ended(4, 1.0, 10.0)]}, "4 planned requests were never started"),
    ],
    ids=["late", "waited", "busy", "not started"],
)
def test_notes(parts, more, note):
    result = summed(*parts, **more)
    assert [one[: len(note)] for one in result.notes] == [note]
    assert result.is_good


@pytest.mark.parametrize(("ms", "text"), [(0.1234, "0.12"), (9.99, "9.99"), (12.34, "12.3"), (1234.5, "1234")])
def test_milliseconds(ms, text):
    assert show_ms(ms) == text


def test_json_is_read_back():
    result = summed(*GOOD)
    assert msgspec.json.decode(msgspec.json.encode(result), type=LoadTestResult) == result


def test_no_percentiles_of_nothing():
    result = summed(part(0, failures={"reset": 3}), max_p99=0.1)
    assert (result.latency, result.verdict) == ({}, "")
    assert "p99" not in as_text(result)
    assert "0.00 ms" not in as_page(result)


@pytest.mark.parametrize(
    ("max_p99", "ends", "verdict"),
    [
        (None, ENDS, ""),
        (0.1, ENDS, "p99 3.00 ms, limit 100 ms: yes"),
        (0.003, ENDS, "p99 3.00 ms, limit 3 ms: yes"),
        (0.0029, ENDS, "p99 3.00 ms, limit 2.9 ms: no"),
        (0.1, [Ended(50, 1, 10)], "p99 3.00 ms, limit 100 ms: no"),
    ],
    ids=["no limit", "below", "at", "over", "too slow to be started"],
)
def test_verdicts(max_p99, ends, verdict):
    result = summed(*GOOD, max_p99=max_p99, ends=ends)
    assert result.verdict == verdict
    assert not verdict or f"verdict       {verdict}" in as_text(result)


def test_another_body_is_explained():
    wrong = {OTHER_BODY: Wrong(2, 17, 'at byte 24: received "Pro", expected "Gone"')}
    (fault,) = summed(part(0, 1, wrong=wrong), part(0, 1, wrong={OTHER_BODY: Wrong(1, 3, "other")})).faults
    assert fault == (
        "wrong: another body than this config and these customers give: 3 times, the first to line 17;"
        " it has other customers or another card; compare its config, and reload it;"
        ' first difference at byte 24: received "Pro", expected "Gone"'
    )
