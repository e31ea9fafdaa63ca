"""The status page: what it says, that it is well-formed, and that no name in it is more than a name."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_type_hints

import msgspec
import pytest

from appliance.observe.health import ApiInfo, CertificateInfo, FetchInfo, IdsInfo, Import, SupervisorStatus
from appliance.observe.history import MINUTES, Interval
from appliance.observe.status_page import OUTCOME_GROUPS, PageData, _duration, _rates, render
from appliance.outcomes import Outcome
from tests.factory import NOW
from tests.observe.busy import IDS, busy_status, health

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Reads a page, and minds that every tag is closed in its turn."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.feed(html.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text:
            self.texts.append(text)
            if self.open[-1] in ("td", "th"):
                self.rows[-1].append(text)


def page(data: PageData) -> Page:
    return Page(render(data))


def test_every_outcome_is_in_one_group() -> None:
    assert sorted(outcome for group in OUTCOME_GROUPS for outcome in group.outcomes) == sorted(Outcome)


def test_says_what_there_is_to_know() -> None:
    shown = page(busy_status())
    assert "Healthy" in shown.texts
    assert shown.tags.count("svg") == 3
    for row in (
        ["customers", "104,211"],
        ["bad row", "customers.csv:2113: has 6 cells, and the header has 7"],
        ["cards.example.com, helpdesk.example.com", "2026-11-21", "61 days"],
        ["old.example.com, older.example.com, oldest.example.com and 4 more", "2026-12-10", "80 days"],
        ["helpscout: it is right, but written in hex; the sender must write the digest in base64", "1", "09-21 14:13"],
        ["workers ready", "2 of 2"],
        ["snapshots in use", "17, 17"],
    ):
        assert row in shown.rows
    counted = {row[0]: row[1:] for row in shown.rows if len(row) == 3}
    hour, since = (int(cell.replace(",", "")) for cell in counted["found"])
    assert 0 < hour < since
    figures = dict(zip(shown.texts, shown.texts[1:], strict=False))
    assert (figures["Age of the data"], figures["Certificate"], figures["Cache hits"]) == ("42 s", "61 days", "64%")


COUNTED = (
    "open",
    "opened",
    "handshakes_failed",
    "headers_refused",
    "rejected",
    "dropped",
    "lines_dropped",
    "trail_lost",
)


def test_each_counter_of_connections_and_lines_is_shown() -> None:
    status = busy_status()
    totals = msgspec.structs.replace(status.totals, **{name: 1001 + place for place, name in enumerate(COUNTED)})
    shown = [row[1] for row in page(replace(status, totals=totals)).rows if len(row) == 2]
    assert [f"{1001 + place:,}" in shown for place in range(len(COUNTED))] == [True] * len(COUNTED)
    others = {name for name, kind in get_type_hints(type(totals)).items() if kind is int} - set(COUNTED)
    assert others == {"ready", "trail_error"}


def test_the_charts_and_the_figures_tell_the_same() -> None:
    status = busy_status()
    titles = re.findall(r"<title>\d\d:\d\d: ([^<]*)</title>", render(status).decode())
    found = [int(number.replace(",", "")) for title in titles for number in re.findall(r"([\d,]+) found", title)]
    assert sum(found) == sum(minute.count([Outcome.FOUND]) for minute in status.minutes)
    assert titles.count("no requests") == 2  # the pause


def hour(*counted: tuple[int, float]) -> list[Interval]:
    """Return an hour that ends with these minutes: each so many found requests, in so many seconds."""
    outcomes = [[number if each is Outcome.FOUND else 0 for each in Outcome] for number, _ in counted]
    ended = [Interval(seconds, tuple(one)) for one, (_, seconds) in zip(outcomes, counted, strict=True)]
    return [*[Interval()] * (MINUTES - len(counted)), *ended]


@pytest.mark.parametrize(
    ("counted", "bars"),
    [
        ([(600, 60), (470, 47)], [600, 470]),
        ([(600, 60), (590, 59)], [600, 590]),
        ([(100, 10), (600, 60), (0, 0)], [100, 600, None]),
        ([(500, 50), (700, 70), (60, 6)], [600, 600, 60]),
        ([(0, 60), (5, 10)], [0, 5]),
    ],
    ids=["running", "nearly over", "the first", "looks that drift", "quiet"],
)
def test_a_bar_shows_what_came_and_not_what_might_yet(
    counted: list[tuple[int, float]], bars: list[float | None]
) -> None:
    assert _rates(hour(*counted), OUTCOME_GROUPS[0])[-len(counted) :] == bars


@pytest.mark.parametrize("data", [busy_status(0), busy_status(4, 1)], ids=["quiet", "new"])
def test_a_service_that_nobody_asks_has_a_page_too(data: PageData) -> None:
    shown = page(data)
    assert "–" in shown.texts
    assert "Outcomes" not in shown.texts or data.totals.opened


def test_without_data_and_tls() -> None:
    nothing = msgspec.structs.replace(health(supervisor=SupervisorStatus(), last=None), data=None)
    shown = page(busy_status(health=nothing, supervisor=SupervisorStatus()))
    assert {"Customers", "Last import", "Certificates"} & set(shown.texts) == set()
    assert "none: TLS is off" in shown.texts


FETCHES = {
    "worked": (
        FetchInfo(at=0.0, seconds=2.34, next=60.0),
        [["last that worked", "1970-01-01 00:00:00 UTC, 2.3 seconds"], ["next", "1970-01-01 00:01:00 UTC"]],
    ),
    "unchanged": (
        FetchInfo(at=0.0, seconds=0.1, unchanged=True, next=60.0),
        [["last that worked", "1970-01-01 00:00:00 UTC, 0.1 seconds, nothing has changed"]],
    ),
    "never worked": (
        FetchInfo(error="db: cannot be reached; <look>", next=60.0),
        [["last that worked", "–"], ["last error", "db: cannot be reached; <look>"]],
    ),
    "login refused": (FetchInfo(error="no"), [["next", "when the password or the config has changed"]]),
}


@pytest.mark.parametrize("fetch", FETCHES)
def test_fetches(fetch: str) -> None:
    info, rows = FETCHES[fetch]
    shown = page(busy_status(health=msgspec.structs.replace(health(), fetch=info)))
    assert [row for row in rows if row not in shown.rows] == []
    assert "Fetch from the database" not in page(busy_status()).texts


def test_reasons_and_a_refused_import_are_told_in_their_words() -> None:
    refused = Import(at=0.0, refused="half is gone; export it again", bad=("a.csv:3: has no address",))
    shown = page(busy_status(health=health(["the disk is full"], last=refused)))
    assert "the disk is full" in shown.texts
    assert ["outcome", "refused: half is gone; export it again"] in shown.rows
    assert ["bad row", "a.csv:3: has no address"] in shown.rows
    assert "(!) sidebard" in shown.texts


@pytest.mark.parametrize(
    ("served", "figures", "row"),
    [
        (
            CertificateInfo(("a",), 0, NOW + 5 * 86400.0, "", NOW - 1),
            ("5.0 days", "until it expires: renew it"),
            "5.0 days; renew it",
        ),
        (CertificateInfo(("a",), 0, NOW + 5 * 86400.0, "", NOW + 1), ("5.0 days", "until it expires"), "5.0 days"),
        (
            CertificateInfo(("a",), 0, NOW + 5 * 86400.0, "", NOW - 1, "E7"),
            ("5.0 days", "until it expires: renew it"),
            "5.0 days (that of E7 in its chain); renew it",
        ),
        (
            CertificateInfo(("a",), 0, NOW - 86400.0, "", NOW - 9, "E7"),
            ("-1.0 days", "until it expires: renew it"),
            "expired (that of E7 in its chain); renew it",
        ),
    ],
    ids=["near its end", "six days", "an issuer near its end", "an issuer that is over"],
)
def test_a_certificate_near_its_end(served: CertificateInfo, figures: tuple[str, str], row: str) -> None:
    supervisor = SupervisorStatus(certificates=(served,))
    shown = page(busy_status(health=health(supervisor=supervisor), supervisor=supervisor))
    at = shown.texts.index("Certificate")
    assert tuple(shown.texts[at + 1 : at + 3]) == figures
    assert row in [cells[-1] for cells in shown.rows if cells[0] == "a"]


def test_a_certificate_that_help_scout_does_not_accept() -> None:
    served = CertificateInfo(("localhost",), 0, 1e10, "made here")
    supervisor = SupervisorStatus(certificates=(*busy_status().supervisor.certificates, served))
    shown = page(busy_status(health=health(supervisor=supervisor), supervisor=supervisor))
    figures = dict(zip(shown.texts, shown.texts[1:], strict=False))
    assert "Healthy" not in shown.texts
    assert "(!) sidebard" in shown.texts
    assert figures["Needs attention"].startswith(
        "the certificate for localhost is made here, so Help Scout does not accept"
    )
    assert figures["Certificate"] == "not accepted"
    assert ["localhost", "2286-11-20", "made here; Help Scout does not accept it"] in shown.rows


def test_what_is_known_of_ids() -> None:
    shown = page(busy_status(health=health(ids=IDS)))
    for row in (
        ["known", "48,113"],
        ["newest", "75 s ago"],
        ["from webhooks", "412 since start"],
        ["from the Inbox API", "31 since start"],
        ["state", "it is slow; wait"],
        ["asked again", "2026-09-21 14:13:37 UTC"],
        ["left of a minute's requests", "211 of 400"],
        ["ids that wait", "2"],
        ["listed", "47,600 customers, 952 pages"],
        ["finished", "2026-09-21 14:11:50 UTC"],
        ["waits", "the disk is full"],
    ):
        assert row in shown.rows, row
    shown = page(busy_status(health=health(ids=IdsInfo(known=0, api=ApiInfo(limit=200), fault="the disk is full"))))
    assert ["newest", "none yet"] in shown.rows
    assert ["state", "not asked yet"] in shown.rows
    assert ["not stored", "the disk is full"] in shown.rows
    assert ["left of a minute's requests", "– of 200"] in shown.rows
    assert "Ids of customers" not in page(busy_status()).texts


def test_hostile_names_stay_names() -> None:
    supervisor = SupervisorStatus(certificates=(CertificateInfo((HOSTILE,), 0, 1e9),))
    last = Import(at=0.0, refused=HOSTILE, bad=(HOSTILE,))
    plain = page(busy_status(health=health(["x"], last=Import(at=0.0, refused="x", bad=("x",))), supervisor=supervisor))
    html = render(busy_status(health=health([HOSTILE], supervisor, last), supervisor=supervisor))
    shown = Page(html)
    assert b"<script>alert" not in html
    assert b"<img" not in html
    assert shown.tags == plain.tags
    assert sum(HOSTILE in text for text in shown.texts) == 4


def test_the_page_holds_nothing_that_its_policy_forbids() -> None:
    shown = page(busy_status())
    names = {name for name, _ in shown.attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    assert shown.tags.count("script") == 1
    assert "style" not in shown.tags
    loaded = {value for name, value in shown.attributes if name in ("src", "href")}
    assert loaded == {"status.js", "status.css", "data:,"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 days"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert _duration(seconds) == text
