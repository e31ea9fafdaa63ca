"""The supervisor's children, with forks that only pretend: what is started, when again, and what is said of it."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from appliance.observe.shared_counters import ChildRow, SharedCounters
from appliance.service.backoff import NO_PROCESS
from appliance.service.fleet import STEWARD, WORKER, Fleet
from tests.conftest import Logged
from tests.factory import Timer


class System:
    """Forks children that are only numbers, or refuses to."""

    def __init__(self) -> None:
        self.fault = 0
        self.tried: list[str] = []
        self.rows: dict[int, ChildRow] = {}
        self.killed: list[tuple[int, int]] = []
        self.ended: list[tuple[int, int]] = []  # pids and wait statuses, to be reaped

    def start(self, kind: str, _setup: object, row: ChildRow) -> int:
        self.tried.append(kind)
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))
        pid = 1000 + len(self.rows)
        self.rows[pid] = row
        return pid

    def kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))

    def waitpid(self, _pid: int, _options: int) -> tuple[int, int]:
        return self.ended.pop(0) if self.ended else (0, 0)


class Wanted:
    """A setup, as far as a fleet is concerned."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.counters = SharedCounters([], workers)
        self.settings = object()


class Made:
    """A fleet with its time and its system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timer, self.system = Timer(), System()
        monkeypatch.setattr(os, "kill", self.system.kill)
        monkeypatch.setattr(os, "waitpid", self.system.waitpid)
        self.fleet = Fleet(self.system.start, self.timer, 15.0)

    def turn(self, seconds: float = 0.0) -> list[str]:
        """Let time go by; give the kinds that were tried to be started."""
        self.timer.now += seconds
        before = len(self.system.tried)
        self.fleet.turn()
        return self.system.tried[before:]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


@pytest.mark.parametrize(
    ("number", "todo"),
    [
        pytest.param(errno.EAGAIN, "raise the limit of processes", id="too many processes"),
        pytest.param(errno.ENOMEM, "free some memory", id="no memory"),
    ],
)
def test_a_failed_fork_is_said_once_and_tried_again(number: int, todo: str, made: Made, logged: Logged) -> None:
    made.system.fault = number
    made.fleet.workers_of = made.fleet.steward_of = Wanted(2)  # type: ignore[assignment]
    assert made.turn() == [STEWARD, WORKER]
    said = logged.take("start_of_process_failed")
    assert str(said["why"]).startswith(f"no process can be started: {os.strerror(number)}; {todo}")
    assert made.fleet.start_fault == said["why"]
    assert made.turn(NO_PROCESS / 2) == []
    assert made.turn(NO_PROCESS) == [STEWARD, WORKER]
    made.system.fault = 0
    assert made.turn(NO_PROCESS) == [STEWARD, WORKER, WORKER]
    logged.take("start_of_process_works")
    assert made.fleet.start_fault == ""
    assert made.fleet.stillborn is None


def test_it_is_over_too_when_nothing_more_is_wanted(made: Made, logged: Logged) -> None:
    one = made.fleet.workers_of = made.fleet.steward_of = Wanted(1)  # type: ignore[assignment]
    made.turn()
    one.workers = 2
    made.system.fault = errno.EAGAIN
    assert made.turn() == [WORKER]
    logged.take("start_of_process_failed")
    one.workers = 1
    assert made.turn(NO_PROCESS) == []
    logged.take("start_of_process_works")


def test_a_stuck_child_is_said_and_killed_once(made: Made, logged: Logged) -> None:
    made.fleet.steward_of = Wanted(1)  # type: ignore[assignment]
    made.turn()
    for _ in range(40):
        made.turn(0.5)
    assert made.system.killed == [(1000, signal.SIGKILL)]
    assert logged.take("steward_stuck")["pid"] == 1000


def test_a_child_of_somebody_else_is_nothing_to_it(made: Made) -> None:
    """Process 1 of a container inherits every process whose parent has ended."""
    made.fleet.steward_of = Wanted(1)  # type: ignore[assignment]
    made.turn()
    made.system.ended = [(7, signal.SIGKILL)]
    assert made.turn() == []
    assert made.fleet.restarts == {WORKER: 0, STEWARD: 0}


def test_a_child_that_ends_by_itself_in_good_order_is_replaced_without_a_word(made: Made) -> None:
    """A signal to the whole process group reaches the children, too."""
    made.fleet.workers_of = Wanted(1)  # type: ignore[assignment]
    made.turn()
    made.system.rows[1000].status.ready = True
    made.turn(20)
    made.system.rows[1000].status.beat()
    made.system.ended = [(1000, 0)]
    assert made.turn(1) == [WORKER]
    assert made.fleet.restarts == {WORKER: 0, STEWARD: 0}


def test_a_child_that_does_not_end_is_killed_after_its_time(made: Made) -> None:
    made.fleet.steward_of = Wanted(1)  # type: ignore[assignment]
    made.turn()
    made.fleet.end()
    assert made.system.killed == [(1000, signal.SIGTERM)]
    made.turn(1.9)
    assert made.system.killed == [(1000, signal.SIGTERM)]
    made.turn(0.1)
    assert made.system.killed == [(1000, signal.SIGTERM), (1000, signal.SIGKILL)]
