"""The last hour: what is added to what, and which numbers come out."""

from __future__ import annotations

import pytest

from appliance.observe.history import EVERY, KEPT, History, Interval, total
from appliance.observe.shared_counters import BUCKETS, SharedCounters
from appliance.outcomes import Outcome

NOON = 1_790_000_040.0 // 60 * 60  # a full minute


class Service:
    """Shared counters, read as the steward does."""

    def __init__(self) -> None:
        self.shared = SharedCounters(["one", "two"], 1)
        self.history = History()
        self.now = NOON
        self.look(0)

    def ask(self, number: int = 1, outcome: Outcome = Outcome.FOUND, cache: str = "hit", seconds: float = 1e-5) -> None:
        for _ in range(number):
            self.shared.worker(0).counters.request(
                "two" if outcome is Outcome.FOUND else "one", outcome, cache, seconds
            )

    def look(self, later: float = EVERY) -> None:
        self.now += later
        self.history.record(self.now, self.shared.totals())

    def minutes(self) -> list[int]:
        return [span.requests for span in self.history.minutes(self.now)]


def test_counts_by_the_minutes_of_the_clock() -> None:
    service = Service()
    for number in range(1, 13):
        service.ask(number)
        service.look()
    assert service.now == NOON + 120
    assert len(service.minutes()) == 60
    assert service.minutes()[-4:] == [0, sum(range(1, 7)), sum(range(7, 13)), 0]
    assert [span.seconds for span in service.history.minutes(service.now)[-4:]] == [0, 60, 60, 0]
    assert service.history.recent().requests == sum(range(7, 13))


def test_what_was_counted_before_the_first_look_is_not_of_the_last_hour() -> None:
    service = Service()
    service.history = History()
    service.ask(5)
    service.look()
    assert sum(service.minutes()) == 0
    service.ask(2)
    service.look()
    assert sum(service.minutes()) == 2


def test_forgets_what_is_older_than_an_hour() -> None:
    service = Service()
    service.ask(7)
    service.look()
    for _ in range(KEPT - 1):
        service.look()
    assert sum(service.minutes()) == 0
    assert total(service.history.minutes(service.now)).seconds == pytest.approx(59 * 60)  # the last has only begun


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_clock_that_jumps_breaks_nothing(jump: float) -> None:
    service = Service()
    service.ask(3)
    service.look(jump)
    service.ask(4)
    service.look()
    assert 4 in service.minutes()
    assert all(span.seconds >= 0 for span in service.history.minutes(service.now))


def test_keeps_outcomes_and_the_cache_apart() -> None:
    service = Service()
    service.ask(3)
    service.ask(1, cache="miss")
    service.ask(2, Outcome.BAD_SIGNATURE, "")
    service.look()
    span = service.history.recent()
    assert (span.count([Outcome.FOUND]), span.count([Outcome.BAD_SIGNATURE]), span.requests) == (4, 2, 6)
    assert (span.hits, span.misses, span.hit_share) == (3, 1, 0.75)
    assert Interval().hit_share is None


@pytest.mark.parametrize(
    ("durations", "share", "seconds"),
    [
        pytest.param([], 0.5, None, id="nothing"),
        pytest.param([0.00002] * 10, 0.5, (0.00001 + 0.000025) / 2, id="the middle of a bucket"),
        pytest.param([0.00002] * 10, 1.0, 0.000025, id="its end"),
        pytest.param([0.000005] * 98 + [0.002] * 2, 0.5, 0.00001 * 50 / 98, id="many short"),
        pytest.param([0.000005] * 98 + [0.002] * 2, 0.99, (0.001 + 0.0025) / 2, id="few long"),
        pytest.param([100.0], 0.5, BUCKETS[-1], id="beyond the last"),
    ],
)
def test_percentiles_are_read_off_the_buckets(durations: list[float], share: float, seconds: float | None) -> None:
    service = Service()
    for duration in durations:
        service.ask(1, seconds=duration)
    service.ask(1000, Outcome.BAD_SIGNATURE, "", 0.0)  # a refusal takes no time, and does not count
    service.look()
    assert service.history.recent().percentile(share) == (pytest.approx(seconds) if seconds else None)
