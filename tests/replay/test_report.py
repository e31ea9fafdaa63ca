"""A result as a web page."""

import re
from html.parser import HTMLParser

import pytest

from appliance import __version__
from appliance.replay.load_profile import LoadProfile
from appliance.replay.report import as_page
from tests.replay.summed import GOOD, part, summed


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
    assert f"2026-09-21 14:13:20 UTC, sidebard {__version__}" in page
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
    ids=["ten seconds", "four minutes", "ten minutes", "an hour"],
)  # fmt: skip
def test_the_time_axis(duration, labels):
    profile = LoadProfile(duration=duration, connections=1, processes=1, rate=None)
    page = as_page(summed(*[part(place, 1000) for place in range(profile.steps)], profile=profile))
    over_time = re.findall(r"<svg.*?</svg>", page)[0]
    assert re.findall(r'y="145">([^<]+)<', over_time) == labels
