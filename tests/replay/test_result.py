"""From what the processes tell to what is shown: words, JSON, a page."""

import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http_client import parse_url
from appliance.replay.difference import first_difference
from appliance.replay.interval_stats import OTHER_BODY, Ended, IntervalRecorder, IntervalStats, Wrong
from appliance.replay.load_profile import LoadProfile
from appliance.replay.report import as_page
from appliance.replay.result import LoadTestResult, show_ms, summarize
from appliance.replay.target import LoadTarget
from appliance.replay.text import HEIGHT, WIDTH, as_text, plot
from appliance.replay.timeline import Timeline

PROFILE = LoadProfile(duration=10, connections=4, processes=2, rate=100.0)
ENDS = (Ended(0, 1.0, 10.0),)
TARGET = LoadTarget(parse_url("https://card.example/h"), "192.0.2.1", None)


def part(place, *latencies, **counts):
    recorder = IntervalRecorder(place)
    for latency in latencies:
        recorder.latency(latency)
    finished = recorder.finish()
    for name, value in counts.items():
        setattr(finished, name, value)
    return finished


def summed(*parts, profile=PROFILE, ends=ENDS, max_p99=None, interrupted=False):
    timeline = Timeline(profile)
    for one in parts:
        timeline.add(one, profile.processes)
    timeline.finish()
    return summarize(TARGET, profile, timeline, ends, started=1790000000.0, max_p99=max_p99, interrupted=interrupted)


GOOD = (part(0, 1000, 2000, statuses={200: 2}), part(0, 3000, statuses={200: 1}), part(1, 500, statuses={200: 1}))


def test_all_processes_are_put_together():
    result = summed(*GOOD, ends=[Ended(1, 2.0, 10.0), Ended(2, 5.0, 10.5)])
    assert (result.answered, result.statuses, result.not_started) == (4, {200: 4}, 3)
    assert (result.latency["p50"], result.latency["max"]) == (1.0, 3.0)
    assert [(point.at, point.answers, point.largest) for point in result.points] == [(0.5, 3, 3.0), (1.0, 1, 0.5)]
    assert result.answers_per_second == pytest.approx(4 / 10.5, abs=0.1)
    assert result.generator_cpu == 0.476
    assert result.is_good


def test_a_point_is_given_once_all_have_told():
    timeline = Timeline(PROFILE)
    assert timeline.add(part(0, 1000), 2) is None
    assert timeline.add(part(1, 1000), 2) is None
    assert timeline.add(part(0, 3000), 2).answers == 2
    assert timeline.add(part(2, 1000), 1).answers == 1
    timeline.finish()
    assert [point.at for point in timeline.points] == [0.5, 1.0, 1.5]


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


@pytest.mark.parametrize(("ms", "text"), [(0.1234, "0.12"), (9.99, "9.99"), (12.34, "12.3"), (1234.5, "1234")])
def test_milliseconds(ms, text):
    assert show_ms(ms) == text


def test_json_is_read_back():
    result = summed(*GOOD)
    assert msgspec.json.decode(msgspec.json.encode(result), type=LoadTestResult) == result


class _Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_a_page_is_one_file_without_scripts():
    page = as_page(summed(*GOOD, part(2, failures={'<script>"&': 2})))
    tags = _Tags()
    tags.feed(page)
    assert tags.tags.count("svg") == 3
    assert "script" not in tags.tags
    assert not [name for name, _ in tags.attributes if name in ("src", "href", "style") or name.startswith("on")]
    assert "url(" not in page
    assert "&lt;script&gt;&quot;&amp;: 2 times" in page
    assert "https://card.example: 10.0 s, 100 requests/s planned" in page


def test_a_page_of_nothing():
    assert as_page(summed()).count("<svg") == 3


def test_a_page_says_when_which_version_and_how_it_was_judged():
    page = as_page(summed(*GOOD, max_p99=0.1))
    assert "2026-09-21 14:13:20 UTC, sidebard 0.1.0" in page
    assert "<h2>Passed: p99 3.00 ms, limit 100 ms: yes</h2>" in page
    assert '<path class="line trouble"' in page  # the limit, in the chart
    assert "<h2>Failed: p99 3.00 ms, limit 2 ms: no</h2>" in as_page(summed(*GOOD, max_p99=0.002))
    assert "<h2>Passed</h2>" in as_page(summed(*GOOD))


def test_a_page_shows_the_slowest_and_p99_apart():
    page = as_page(summed(part(0, *[500] * 99, 90_000, statuses={200: 100}), part(1, 700, statuses={200: 1})))
    over_time = re.findall(r"<svg.*?</svg>", page)[0]
    lines = dict(re.findall(r'<path class="line (\w+)" d="([^"]+)"', over_time))
    assert set(lines) == {"worst", "slowest", "typical"}
    assert lines["worst"].split("L")[0] != lines["slowest"].split("L")[0]
    assert lines["worst"].split("L")[1] == lines["slowest"].split("L")[1]  # of one answer both are the same
    assert over_time.index("line worst") < over_time.index("line slowest")  # the wide line lies below
    assert list(re.findall(r"dy=\"4\">([^<]+)<", over_time)) == ["100 µs", "1 ms", "10 ms", "100 ms"]


def test_a_page_has_gaps_where_nothing_was_answered():
    page = as_page(summed(part(0, 500), part(1, failures={"reset": 2}), part(2, 900)))
    over_time = re.findall(r"<svg.*?</svg>", page)[0]
    assert (over_time.count("<circle"), over_time.count('class="line')) == (6, 0)


@pytest.mark.parametrize(
    ("duration", "labels"),
    [(10, ["0 s", "2.5 s", "5 s", "7.5 s"]), (240, ["0 s", "60 s", "120 s", "180 s"]),
     (600, ["0 s", "2.5 min", "5 min", "7.5 min"]), (3600, ["0 s", "15 min", "30 min", "45 min"])],
)  # fmt: skip
def test_the_time_axis(duration, labels):
    profile = LoadProfile(duration=duration, connections=1, processes=1, rate=None)
    page = as_page(summed(*[part(place, 1000) for place in range(profile.steps)], profile=profile))
    over_time = re.findall(r"<svg.*?</svg>", page)[0]
    assert re.findall(r'y="145">([^<]+)<', over_time) == labels


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


@pytest.mark.parametrize(
    ("expected", "received", "words"),
    [
        (b"<p>Plan</p><b>Gone</b>", b"<p>Plan</p><b>Pro</b>", 'at byte 15: received "Pro</b>", expected "Gone</b>"'),
        (b"<b>Professional", b"<b>Pro", 'at byte 7: received "Pro", expected "Professional"'),
        (b"card", b"", 'at byte 1: received the end, expected "card"'),
        (b"", b"card", 'at byte 1: received "card", expected the end'),
        ("<b>Käte".encode(), "<b>Köte".encode(), 'at byte 6: received "Köte", expected "Käte"'),
        (b"<b>ann@example.com!", b"<b>bob@example.com!", f'at byte 4: received "{"*" * 16}", expected "{"*" * 16}"'),
        (b"x" * 500 + b"a", b"x" * 500 + b"b", f'at byte 501: received "{"x" * 24}b", expected "{"x" * 24}a"'),
        (b"\x1b[31m" + b"a" * 99, b"\x1b[31m" + b"b" * 99,
         f'at byte 6: received "\ufffd[31m{"b" * 35}", expected "\ufffd[31m{"a" * 35}"'),
    ],
    ids=["value", "longer", "empty", "more", "half a letter", "address", "far", "controls"],
)  # fmt: skip
def test_the_first_difference(expected, received, words):
    assert first_difference(expected, received) == words


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_difference_fits_a_line(expected, received):
    words = first_difference(expected, received)
    assert words.isprintable()
    assert len(words) < 150


def test_intervals_do_not_share_what_they_count():
    one, other = IntervalStats(0), IntervalStats(0)
    one.statuses[200] = 1
    assert other.statuses == {}
