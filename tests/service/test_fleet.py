"""The supervisor's children, with forks that only pretend: what is started, when again, and what is logged."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from appliance.observe.shared_counters import ChildRow, SharedCounters
from appliance.service import fleet as module
from appliance.service.backoff import DELAYS, NO_PROCESS, PAUSE, SOON
from appliance.service.child_context import END_AT_ONCE
from appliance.service.fleet import STEWARD, WORKER, Fleet, State
from tests.conftest import Logged
from tests.factory import Timer

DRAIN = 5.0
DIED_OF = {0: 0, 9: signal.SIGKILL, 70: 70 << 8}  # wait statuses: exit code 0, SIGKILL, exit code 70


class System:
    """Forks children that are only numbers, or refuses to; they end when a test says so."""

    def __init__(self) -> None:
        self.fault = 0
        self.tried: list[str] = []
        self.rows: dict[int, ChildRow] = {}
        self.killed: list[tuple[int, int]] = []
        self.exited: list[tuple[int, int]] = []

    def start(self, kind: str, _deployment: object, row: ChildRow) -> int:
        self.tried.append(kind)
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))
        pid = 1000 + len(self.rows)
        self.rows[pid] = row
        return pid

    def kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))

    def waitpid(self, _pid: int, _options: int) -> tuple[int, int]:
        return self.exited.pop(0) if self.exited else (0, 0)


class Wanted:
    """A deployment, as far as a fleet is concerned."""

    def __init__(self, workers: int, like: Wanted | None = None) -> None:
        self.workers = workers
        self.counters: SharedCounters = SharedCounters([], workers) if like is None else like.counters
        self.settings: Wanted = self if like is None else like.settings
        self.server = self
        self.drain = DRAIN


class Made:
    """A fleet with its time and its system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timer, self.system = Timer(), System()
        monkeypatch.setattr(os, "kill", self.system.kill)
        monkeypatch.setattr(os, "waitpid", self.system.waitpid)
        self.restarts_when_read: list[int] = []  # of workers, each time the children's output was read
        self.fleet = Fleet(self.system.start, self.timer, 15.0, self.read_output)

    def read_output(self) -> None:
        """Note what is known when it is read."""
        self.restarts_when_read.append(self.fleet.restarts[WORKER])

    def want(self, deployment: Wanted) -> None:
        """Want its steward and its workers."""
        self.fleet.prepare(deployment)  # type: ignore[arg-type]
        self.fleet.roll_out(deployment)  # type: ignore[arg-type]

    def reconcile(self, seconds: float = 0.0) -> list[str]:
        """Let time pass; return the kinds of the children that were tried to be started."""
        self.timer.now += seconds
        before = len(self.system.tried)
        self.fleet.reconcile()
        return self.system.tried[before:]

    def beat(self, seconds: float) -> None:
        """Let time pass while all show that they are alive."""
        for _ in range(round(seconds)):
            for row in self.system.rows.values():
                row.status.beat()
            self.reconcile(1.0)

    def ready(self, *pids: int) -> list[str]:
        """Let these children become ready."""
        for pid in pids:
            self.system.rows[pid].status.ready = True
        return self.reconcile()

    def exits(self, pid: int, code: int) -> list[str]:
        """Let a child end."""
        self.system.exited.append((pid, DIED_OF[code]))
        return self.reconcile()

    def states(self) -> dict[int, State]:
        return {pid: child.state for pid, child in self.fleet._children.items()}

    def signalled(self) -> list[tuple[int, int]]:
        """Return the signals that were sent since the last call."""
        sent, self.system.killed[:] = list(self.system.killed), []
        return sent


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


# The steward is 1000 where both kinds are wanted: it is started first.


def test_starts_what_is_wanted_and_is_complete_when_all_are_ready(made: Made) -> None:
    assert made.reconcile() == []
    made.want(Wanted(2))
    assert made.reconcile() == [STEWARD, WORKER, WORKER]
    assert set(made.states().values()) == {State.STARTING}
    made.ready(1001)
    assert not made.fleet.is_complete
    made.ready(1000, 1002)
    assert made.fleet.is_complete
    assert set(made.states().values()) == {State.READY}


def test_workers_wait_until_they_are_wanted(made: Made) -> None:
    """First the steward imports."""
    wanted = Wanted(1)
    made.fleet.prepare(wanted)  # type: ignore[arg-type]
    assert made.reconcile() == [STEWARD]
    assert not made.fleet.initial_import_done
    made.system.rows[1000].status.initial_import_done = True
    assert made.fleet.initial_import_done
    made.fleet.roll_out(wanted)
    assert made.reconcile() == [WORKER]


def test_a_rollout_replaces_workers_one_by_one_and_never_has_fewer(made: Made) -> None:
    first, second = Wanted(2), Wanted(2)
    second.counters = first.counters
    made.want(first)
    made.reconcile()
    made.ready(1000, 1001, 1002)
    made.want(second)
    assert made.reconcile() == [WORKER]  # 1003, beside the two that serve; the other steward has to end first
    assert made.signalled() == [(1000, signal.SIGTERM)]
    assert made.exits(1000, 0) == [STEWARD]
    assert made.ready(1003) == [WORKER]
    assert made.signalled() == [(1001, signal.SIGTERM)]
    assert not made.fleet.is_complete
    made.ready(1005)
    assert made.signalled() == [(1002, signal.SIGTERM)]
    assert not made.fleet.is_complete  # the old ones still accept
    for pid in (1001, 1002):
        made.system.rows[pid].status.ready = False
    made.reconcile()
    assert made.fleet.is_complete


def test_a_new_certificate_leaves_the_steward(made: Made) -> None:
    first = Wanted(1)
    made.want(first)
    made.reconcile()
    made.want(Wanted(1, like=first))
    made.ready(1000, 1001)
    assert made.signalled() == []
    assert made.states()[1000] is State.READY


def test_a_rollback_keeps_the_workers_that_serve(made: Made) -> None:
    first, second = Wanted(1), Wanted(1)
    second.counters = first.counters
    made.want(first)
    made.reconcile()
    made.ready(1000, 1001)
    made.want(second)
    made.reconcile()
    made.fleet.roll_back(first)  # type: ignore[arg-type]
    made.reconcile()
    assert [pid for pid, _ in made.signalled()] == [1000, 1002]
    assert made.states() == {1000: State.STOPPING, 1001: State.READY, 1002: State.STOPPING}


@pytest.mark.parametrize(
    ("was_ready", "lived", "delay"),
    [
        pytest.param(True, SOON, 0.0, id="at once, if it had served for a while"),
        pytest.param(True, 1.0, PAUSE, id="after a pause, if it had served for a moment"),
        pytest.param(False, 1.0, DELAYS[0], id="later, if it never was ready"),
    ],
)
@pytest.mark.parametrize(("code", "how"), [(9, {"signal": 9}), (70, {"code": 70})], ids=["killed", "exited"])
def test_a_worker_that_dies_is_replaced(
    code: int, how: dict[str, int], was_ready: bool, lived: float, delay: float, made: Made, logged: Logged
) -> None:
    made.want(Wanted(1))
    made.reconcile()
    made.beat(lived)
    made.system.rows[1001].status.ready = was_ready
    assert made.exits(1001, code) == ([WORKER] if not delay else [])
    said = logged.take("worker_died")
    assert {"pid": 1001, "ready": was_ready, "restart_in": delay, **how}.items() <= said.items()
    assert made.reconcile(delay) == ([WORKER] if delay else [])
    assert made.fleet.restarts == {WORKER: 1, STEWARD: 0}
    assert made.restarts_when_read == [0], "what it wrote last is to be logged before its death"


def test_only_workers_that_never_were_ready_fail_a_startup(made: Made, logged: Logged) -> None:
    first, second = Wanted(1), Wanted(1)
    made.want(first)
    made.reconcile()
    made.ready(1001)
    made.exits(1001, 9)
    made.reconcile(PAUSE)
    made.exits(1002, 70)  # never ready, but another one was
    assert made.fleet.failed_startup is None
    made.want(second)
    made.reconcile(DELAYS[0])
    made.exits(1003, 70)
    assert made.fleet.failed_startup is second
    made.want(first)
    assert made.fleet.failed_startup is None
    for _ in range(3):
        logged.take("worker_died")


def test_a_steward_that_is_ready_says_nothing_of_the_workers(made: Made, logged: Logged) -> None:
    wanted = Wanted(1)
    made.want(wanted)
    made.reconcile()
    made.ready(1000)
    made.exits(1001, 70)
    assert made.fleet.failed_startup is wanted  # type: ignore[comparison-overlap]
    logged.take("worker_died")


def test_a_steward_that_dies_is_said_and_replaced(made: Made, logged: Logged) -> None:
    made.want(Wanted(1))
    made.reconcile()
    made.exits(1000, 9)
    assert logged.take("steward_died")["pid"] == 1000
    assert made.fleet.steward_failed
    assert made.reconcile(DELAYS[0]) == [STEWARD]
    assert made.fleet.failed_startup is None
    made.want(Wanted(1))
    assert not made.fleet.steward_failed


def test_who_was_told_to_end_by_somebody_else_is_replaced_without_a_word(made: Made) -> None:
    made.want(Wanted(1))
    made.reconcile()
    made.ready(1001)
    made.exits(1001, 0)
    assert made.reconcile(PAUSE) == [WORKER]
    assert made.fleet.restarts == {WORKER: 0, STEWARD: 0}


def test_who_does_not_end_in_time_is_killed(made: Made) -> None:
    made.want(Wanted(1))
    made.reconcile()
    made.ready(1000, 1001)
    made.fleet.end()
    assert made.signalled() == [(1000, signal.SIGTERM), (1001, signal.SIGTERM)]
    assert made.reconcile(module._GRACE) == []
    assert made.signalled() == [(1000, signal.SIGKILL)]  # a steward has nothing to finish
    made.exits(1000, 9)
    made.reconcile(DRAIN)
    assert made.signalled() == [(1001, signal.SIGKILL)]
    made.exits(1001, 9)
    assert made.fleet.is_empty


@pytest.mark.parametrize("after", [0.0, DRAIN + 1.0], ids=["soon", "late"])
def test_a_second_order_to_end_shortens_the_wait_and_never_prolongs_it(after: float, made: Made) -> None:
    made.fleet.roll_out(Wanted(1))  # type: ignore[arg-type]
    made.reconcile()
    made.ready(1000)
    made.fleet.end()
    made.reconcile(after)
    made.fleet.end()
    assert made.signalled() == [(1000, signal.SIGTERM), (1000, END_AT_ONCE)]
    made.reconcile(min(module._GRACE, DRAIN + module._GRACE - after))
    assert made.signalled() == [(1000, signal.SIGKILL)]


def test_the_first_order_to_end_lets_replaced_workers_finish(made: Made) -> None:
    old = Wanted(1)
    made.want(old)
    made.reconcile()
    made.ready(1000, 1001)
    made.fleet.roll_out(Wanted(1, like=old))  # type: ignore[arg-type]
    made.reconcile()
    made.ready(1002)
    assert made.signalled() == [(1001, signal.SIGTERM)]
    made.reconcile(1.0)
    made.fleet.end()
    assert made.signalled() == [(pid, signal.SIGTERM) for pid in (1000, 1001, 1002)]
    made.reconcile(DRAIN + module._GRACE - 1.0)
    assert made.signalled() == [(1000, signal.SIGKILL), (1001, signal.SIGKILL)]  # neither sooner nor later than before
    made.fleet.end()
    assert made.signalled() == [(1000, signal.SIGTERM), (1001, END_AT_ONCE), (1002, END_AT_ONCE)]


@pytest.mark.parametrize(
    ("number", "todo"),
    [
        pytest.param(errno.EAGAIN, "raise the limit of processes", id="too many processes"),
        pytest.param(errno.ENOMEM, "free some memory", id="no memory"),
    ],
)
def test_a_failed_fork_is_said_once_and_tried_again(number: int, todo: str, made: Made, logged: Logged) -> None:
    made.system.fault = number
    made.want(Wanted(2))
    assert made.reconcile() == [STEWARD, WORKER]
    said = logged.take("start_of_process_failed")
    assert said["kind"] == "steward"
    assert str(said["why"]).startswith(f"no process can be started: {os.strerror(number)}; {todo}")
    assert made.fleet.start_fault == said["why"]
    assert made.reconcile(NO_PROCESS / 2) == []
    assert made.reconcile(NO_PROCESS) == [STEWARD, WORKER]
    made.system.fault = 0
    assert made.reconcile(NO_PROCESS) == [STEWARD, WORKER, WORKER]
    logged.take("start_of_process_works")
    assert made.fleet.start_fault == ""
    assert made.fleet.failed_startup is None


def test_it_is_not_over_while_a_steward_is_missing(made: Made, logged: Logged) -> None:
    made.want(Wanted(1))
    made.reconcile()
    made.ready(1000, 1001)
    made.system.fault = errno.EAGAIN
    made.exits(1000, 9)
    logged.take("steward_died")
    assert made.reconcile(PAUSE) == [STEWARD]
    logged.take("start_of_process_failed")
    made.reconcile(NO_PROCESS / 2)
    assert made.fleet.start_fault
    made.system.fault = 0
    assert made.reconcile(NO_PROCESS) == [STEWARD]
    logged.take("start_of_process_works")


def test_it_is_over_too_when_nothing_more_is_wanted(made: Made, logged: Logged) -> None:
    one = Wanted(1)
    made.want(one)
    made.reconcile()
    one.workers = 2
    made.system.fault = errno.EAGAIN
    assert made.reconcile() == [WORKER]
    logged.take("start_of_process_failed")
    one.workers = 1
    assert made.reconcile(NO_PROCESS) == []
    logged.take("start_of_process_works")


@pytest.mark.parametrize("was_ready", [False, True], ids=["while starting", "when it was ready"])
def test_a_stuck_child_is_said_and_killed_once(was_ready: bool, made: Made, logged: Logged) -> None:
    made.fleet.prepare(Wanted(1))  # type: ignore[arg-type]
    made.reconcile()
    made.system.rows[1000].status.ready = was_ready
    for _ in range(40):
        made.reconcile(0.5)
    assert made.signalled() == [(1000, signal.SIGKILL)]
    assert made.states() == {1000: State.STUCK}
    assert logged.take("steward_stuck")["pid"] == 1000
    made.exits(1000, 9)
    assert logged.take("steward_died")["ready"] is was_ready
