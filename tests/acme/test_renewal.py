"""When to ask for a certificate: a year of it, with a clock that is told the time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import msgspec
import pytest

from appliance.acme import renewal
from appliance.acme.renewal import DAY, HOUR, MINUTE, CertificateFacts, Problem, State

START = 1_790_000_000.0


class Year:
    """A service that looks every ten minutes, and whenever it is time, at an authority that may be down."""

    def __init__(self, lifetime: float, seed: int, *, is_up: Callable[[float], bool] = lambda _now: True) -> None:
        self.lifetime = lifetime
        self.random = random.Random(seed).random
        self.is_up = is_up
        self.state = State()
        self.issued: list[float] = []
        self.tried: list[float] = []
        self.left: list[float] = []  # days left at each renewal

    def run(self, days: float) -> Year:
        now = START
        while now < START + days * DAY:
            certificate = self.state.certificate
            due = renewal.due_at(self.state, has_certificate=certificate is not None, has_order=False, now=now)
            if due > now:
                now = min(due, now + 10 * MINUTE)
                continue
            self.tried.append(now)
            self.state = renewal.begin(self.state, now, self.random)
            if self.is_up(now):
                self.state = renewal.asked(self.state, now)
                if certificate is not None:
                    self.left.append((certificate.ends - now) / DAY)
                facts = CertificateFacts(serial=str(len(self.issued)), begins=now, ends=now + self.lifetime)
                self.issued.append(now)
                self.state = renewal.succeeded(self.state, facts, self.random)
            else:
                problem = Problem(kind="network", sentence="down", at=now)
                self.state = renewal.failed(self.state, problem, now, self.random)
            now += 1
        return self


@pytest.mark.parametrize(
    ("days", "share", "least"),
    [(90, 2 / 3, 27), (64, 2 / 3, 19), (45, 2 / 3, 13), (160 / 24, 1 / 2, 3)],
    ids=["90 days", "64 days", "45 days", "160 hours"],
)
def test_a_year(days: float, share: float, least: float) -> None:
    """None expires, none is renewed too early, and not all at the same share of their lives."""
    times = set()
    for seed in range(5):
        year = Year(days * DAY, seed).run(365)
        assert len(year.issued) == pytest.approx(365 / (days * share), abs=1.5 + 0.03 * 365 / (days * share))
        assert min(year.left) > least
        assert max(year.left) < days * (1 - share + 0.03)
        assert year.tried == year.issued
        times.update(round(left, 3) for left in year.left)
    assert len(times) > 5


def test_ten_days_without_the_authority_cost_nothing() -> None:
    for seed in range(5):
        down = (START + 55 * DAY, START + 65 * DAY)
        year = Year(90 * DAY, seed, is_up=lambda now, down=down: not down[0] <= now < down[1]).run(365)
        assert min(year.left) > 20
        failed = [now for now in year.tried if down[0] <= now < down[1]]
        assert len(failed) < 30


def test_pace_of_attempts() -> None:
    """At most four in the first hour, then fewer and fewer, and two a day in the end."""
    for seed in range(20):
        tried = [now - START for now in Year(90 * DAY, seed, is_up=lambda _now: False).run(30).tried]
        assert sum(now <= HOUR for now in tried) == 4
        assert len([now for now in tried if now <= DAY]) <= 9
        pauses = [after - before for before, after in itertools.pairwise(tried[8:])]
        assert all(10.7 * HOUR < pause < 13.3 * HOUR for pause in pauses)
        assert len({round(pause) for pause in pauses}) > 10


def test_killed_again_and_again_makes_no_more_attempts() -> None:
    """The next time is written down before an attempt, so what becomes of the attempt does not matter."""
    state, tried, now = State(), 0, START
    while now < START + DAY:
        if renewal.due_at(state, has_certificate=False, has_order=True, now=now) <= now:
            tried += 1
            state = renewal.begin(state, now, lambda: 0.5)
        now += 1
    assert tried <= 9


def test_never_a_third_in_a_day() -> None:
    state = renewal.asked(renewal.asked(State(), START), START + 5)
    assert renewal.due_at(state, has_certificate=False, has_order=False, now=START + 10) == START + DAY
    assert renewal.due_at(state, has_certificate=False, has_order=False, now=START + DAY) <= START + DAY


@pytest.mark.parametrize(
    ("retry_after", "only_operator", "least", "most"),
    [
        (0, False, MINUTE, MINUTE),
        (30, False, MINUTE, MINUTE),
        (2 * HOUR, False, 2 * HOUR, 2.2 * HOUR),
        (400 * DAY, False, DAY, 1.1 * DAY),
        (0, True, 10.8 * HOUR, 13.2 * HOUR),
        (14 * HOUR, True, 14 * HOUR, 15.4 * HOUR),
    ],
)
def test_wait_after_a_failure(retry_after: float, only_operator: bool, least: float, most: float) -> None:
    problem = Problem(kind="x", sentence="x", at=START)
    for chance in (0.0, 0.5, 1.0):
        begun = renewal.begin(State(), START, lambda: 0.5)
        state = renewal.failed(
            begun,
            problem,
            START,
            lambda chance=chance: chance,
            retry_after=retry_after,
            only_operator=only_operator,
        )
        assert least <= state.next_attempt - START <= most


@pytest.mark.parametrize("ahead", [2 * DAY, 400 * DAY])
def test_wait_that_a_wrong_clock_wrote_is_ignored(ahead: float) -> None:
    state = State(next_attempt=START + ahead, issued=(START + ahead,))
    assert renewal.due_at(state, has_certificate=False, has_order=False, now=START) <= START


def test_window_belongs_to_a_serial() -> None:
    """The window of an old certificate never renews a new one."""
    old = CertificateFacts(serial="1", begins=START, ends=START + 90 * DAY)
    state = renewal.succeeded(State(), old, lambda: 0.5)
    assert state.plan is not None
    window = (START - DAY, START)
    plan = renewal.with_window(state.plan, old, window, 0, START, lambda: 0.5)
    state = msgspec.structs.replace(state, plan=plan)
    assert renewal.due_at(state, has_certificate=True, has_order=False, now=START) <= START
    new = CertificateFacts(serial="2", begins=START, ends=START + 90 * DAY)
    state = msgspec.structs.replace(state, certificate=new)
    assert renewal.due_at(state, has_certificate=True, has_order=False, now=START) == pytest.approx(START + 60 * DAY)


def test_moment_of_a_window_is_chosen_once() -> None:
    facts = CertificateFacts(serial="1", begins=START, ends=START + 90 * DAY)
    plan = renewal.plan_of(State(), facts, lambda: 0.5)
    window = (START + 50 * DAY, START + 52 * DAY)
    chosen = renewal.with_window(plan, facts, window, 0, START, lambda: 0.25)
    assert chosen.at == START + 50.5 * DAY
    assert renewal.with_window(chosen, facts, window, 0, START, lambda: 0.75).at == chosen.at
    assert renewal.with_window(chosen, facts, (window[0], window[1] + 1), 0, START, lambda: 1.0).at > chosen.at
    assert renewal.poll_failed(chosen, START, lambda: 0.5).at == chosen.at
