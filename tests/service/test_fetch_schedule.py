"""When a server is asked again."""

from __future__ import annotations

import pytest

from appliance.ingest.sources.remote import Fetched
from appliance.ingest.spec import FetchReport
from appliance.service.fetch_schedule import FULL, FetchSchedule


def schedule(refresh: float = 60.0, random: float = 0.0) -> FetchSchedule:
    return FetchSchedule(refresh, lambda: random)


@pytest.mark.parametrize(
    ("refresh", "pauses"),
    [
        (60.0, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (2000.0, [2000, 3600, 3600]),
        (7200.0, [7200, 7200]),
    ],
    ids=["a minute", "half an hour", "longer than the longest"],
)
def test_failures_in_a_row(refresh: float, pauses: list[float]) -> None:
    fetches, found = schedule(refresh), []
    assert fetches.pause == refresh
    for _ in pauses:
        fetches.record("a", failed=True, login_refused=False)
        found.append(fetches.pause)
        assert fetches.is_due("a")
    assert found == pauses
    fetches.record("a", failed=False, login_refused=False)
    assert fetches.pause == refresh


def test_thousands_of_failures() -> None:
    fetches = schedule()
    for _ in range(5000):
        fetches.record("a", failed=True, login_refused=False)
    assert fetches.pause == 3600


def test_nodes_do_not_ask_together() -> None:
    assert [schedule(random=share).pause for share in (0.0, 0.5, 1.0)] == pytest.approx([60, 63, 66])


def test_a_refused_login_is_tried_again_only_when_it_differs() -> None:
    fetches = schedule()
    assert fetches.is_due("wrong")
    for _ in range(3):
        fetches.record("wrong", failed=True, login_refused=True)
    assert (fetches.is_due("wrong"), fetches.is_due("right"), fetches.pause) == (False, True, 60)
    fetches.record("right", failed=False, login_refused=False)
    assert fetches.is_due("right")


MARKED = {"db (customers)": Fetched(3, 30, "rows", "mark")}


def test_what_was_found_is_known_for_six_hours() -> None:
    fetches = schedule()
    assert fetches.known(0.0) == {}
    fetches.record_found(FetchReport(1.0, MARKED, whole=True), 100.0)
    fetches.record_found(FetchReport(1.0, MARKED, whole=False), 4000.0)  # it does not count as a full one
    assert (fetches.known(100.0), fetches.known(99.0 + FULL), fetches.known(100.0 + FULL)) == (MARKED, MARKED, {})
    fetches.record_found(FetchReport(1.0, MARKED, whole=True), 100.0 + FULL)
    assert fetches.known(101.0 + FULL) == MARKED


def test_without_a_mark_nothing_is_known() -> None:
    fetches = schedule()
    fetches.record_found(FetchReport(1.0, {"db (customers)": Fetched(3, 30, "rows")}, whole=True), 0.0)
    assert fetches.known(1.0) == {}
