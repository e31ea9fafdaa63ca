"""The supervisor's children: started, watched, replaced and ended; always on the way to what they should be."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.bootstrap.deployment import Setup
from appliance.observe.logs import log
from appliance.observe.shared_counters import ChildRow
from appliance.service.backoff import Backoff
from appliance.service.heartbeat import Heartbeat
from appliance.system.fork import start_sentence

_GRACE: Final = 2.0
"""Seconds that a child may take to end, after it was told to and besides what its requests may take."""

WORKER: Final = "worker"
STEWARD: Final = "steward"

Start = Callable[[str, Setup, ChildRow], int]
"""Forks a child of a kind, of a setup, that counts in a row; gives its pid. Raises OSError."""


@dataclass(slots=True, eq=False)
class Child:
    """One child process."""

    kind: str
    pid: int
    setup: Setup
    row: ChildRow
    heartbeat: Heartbeat
    started: float
    ready: bool = False
    stuck: bool = False  # and killed for it
    killed_at: float | None = None  # when it is killed if it has not ended; None while it should run


class Fleet:
    """As many ready workers as a setup wants, and one steward.

    `turn` does what can be done now and waits for nothing; called again and again, it gets there. A worker is told to
    end only once the one in its place answers.
    """

    def __init__(self, start: Start, timer: Callable[[], float], stuck_after: float) -> None:
        """`timer` gives seconds; a child without a beat for `stuck_after` of them is killed."""
        self._start = start
        self._timer = timer
        self._stuck_after = stuck_after
        self._children: dict[int, Child] = {}
        self._backoff = {kind: Backoff(timer) for kind in (WORKER, STEWARD)}
        self._ending = False
        self._proven: Setup | None = None
        self.workers_of: Setup | None = None
        """What workers should be of; None: there should be none yet."""
        self.steward_of: Setup | None = None
        """What the steward should be of."""
        self.stillborn: Setup | None = None
        """The setup of a worker that died before it was ready, when no worker of that setup ever was; else None."""
        self.steward_failed = False
        """Whether a steward died before it had looked at the data."""
        self.start_fault = ""
        """Why a child that should be there cannot be started; "" if none is missing for that."""
        self.restarts = dict.fromkeys((WORKER, STEWARD), 0)

    @property
    def empty(self) -> bool:
        """Whether every child has ended."""
        return not self._children

    @property
    def complete(self) -> bool:
        """Whether all workers that should be are ready, and no other accepts connections."""
        accepting = [child for child in self._children.values() if child.kind == WORKER and child.row.status.ready]
        return self.workers_of is not None and len(self._serving()) == self.workers_of.workers == len(accepting)

    @property
    def settled(self) -> bool:
        """Whether the steward that should be has looked at the data, and imported it if need be and possible."""
        return any(
            child.row.status.initial_import_done
            for child in self._running(STEWARD)
            if _same(STEWARD, child.setup, self.steward_of)
        )

    def turn(self) -> None:
        """Take note of what became of the children, and start and end what the setups now want."""
        self._reap()
        self._look()
        if not self._ending:
            self._stop_surplus()
            self._fill()

    def end(self) -> None:
        """Tell every child to finish and end, and start none from now on. A second time: to end at once."""
        self._ending = True
        for child in self._children.values():
            self._tell_to_end(child)

    def kill(self) -> None:
        """End every child now, and wait for it. Does nothing when there is none."""
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._children.clear()

    def _running(self, kind: str = WORKER) -> list[Child]:
        """Give the children of a kind that were not told to end."""
        return [child for child in self._children.values() if child.kind == kind and child.killed_at is None]

    def _serving(self) -> list[Child]:
        """Give the ready workers of the setup that is wanted."""
        return [child for child in self._running() if child.ready and child.setup is self.workers_of]

    # What happened

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue  # as process 1 of a container one inherits other people's children
            child.ready |= child.row.status.ready  # it may have been ready and dead since the last look
            if lost := child.row.counters.trail_waiting:
                child.row.counters.trail_lost(lost)
                log.error("trail_lines_lost", count=lost, why="the worker ended before they were written")
            child.row.reset_gauges()
            if child.killed_at is None:
                self._mourn(child, os.waitstatus_to_exitcode(status))

    def _mourn(self, child: Child, code: int) -> None:
        """Draw the consequences of a death that nobody asked for."""
        lived = self._timer() - child.started
        delay = self._backoff[child.kind].died(was_ready=child.ready, lived=lived)
        if self._ending:
            return
        if code == 0:  # somebody else told it to end, such as a signal to the whole group
            return
        self.restarts[child.kind] += 1
        how = {"signal": -code} if code < 0 else {"code": code}
        log.error(f"{child.kind}_died", pid=child.pid, **how, ready=child.ready, restart_in=delay)
        if child.kind == STEWARD:
            self.steward_failed = True
        elif not child.ready and child.setup is not self._proven:
            self.stillborn = child.setup

    def _look(self) -> None:
        now = self._timer()
        for child in self._children.values():
            if child.row.status.ready and not child.ready:
                child.ready = True
                if child.kind == WORKER:
                    self._proven = child.setup
            if child.killed_at is not None:
                if now >= child.killed_at:
                    os.kill(child.pid, signal.SIGKILL)
            elif not child.stuck and child.heartbeat.stuck(child.row.status.beats):
                child.stuck = True
                log.error(f"{child.kind}_stuck", pid=child.pid, seconds=self._stuck_after)
                os.kill(child.pid, signal.SIGKILL)

    # What should be

    def _stop_surplus(self) -> None:
        for child in self._running(STEWARD):
            if not _same(STEWARD, child.setup, self.steward_of):
                self._tell_to_end(child)
        if self.workers_of is None:
            return
        running = self._running()
        spare = sum(child.ready for child in running) - self.workers_of.workers
        for child in running:
            if child.setup is not self.workers_of and spare >= child.ready:
                self._tell_to_end(child)
                spare -= child.ready

    def _fill(self) -> None:
        """Start what is missing, as far as that is possible now; a later turn tries again."""
        steward_of, setup = self.steward_of, self.workers_of
        has_steward = steward_of is None or any(child.kind == STEWARD for child in self._children.values())
        if steward_of is not None and not has_steward and self._backoff[STEWARD].over:
            has_steward = self._fork(STEWARD, steward_of, steward_of.counters.steward)
        while setup is not None and self._backoff[WORKER].over:
            running = self._running()
            row = self._free_row(setup)
            one_by_one = all(child.ready for child in running) and len(self._serving()) < setup.workers
            if row is None or not (len(running) < setup.workers or one_by_one):
                if has_steward and self.start_fault:
                    self.start_fault = ""
                    log.info("start_of_process_works")
                return
            if not self._fork(WORKER, setup, row):
                return

    def _free_row(self, setup: Setup) -> ChildRow | None:
        """Give a row that no worker uses; None while those that finish use them all."""
        used = {id(child.row) for child in self._children.values()}
        rows = map(setup.counters.worker, range(setup.counters.places))
        return next((row for row in rows if id(row) not in used), None)

    def _fork(self, kind: str, setup: Setup, row: ChildRow) -> bool:
        """Start a child, or say why not, once; say whether there is one."""
        row.reset_gauges()
        heartbeat = Heartbeat(self._timer, self._stuck_after)
        try:
            pid = self._start(kind, setup, row)
        except OSError as error:  # no more processes, or no memory: those that run go on
            delay = self._backoff[kind].not_started()
            why = start_sentence(error)
            if why != self.start_fault:
                self.start_fault = why
                log.error("start_of_process_failed", kind=kind, why=why, again_in=delay)
            return False
        self._children[pid] = Child(kind, pid, setup, row, heartbeat, self._timer())
        return True

    def _tell_to_end(self, child: Child) -> None:
        again = child.killed_at is not None
        drain = 0.0 if again or child.kind == STEWARD else child.setup.settings.server.drain
        child.killed_at = min(self._timer() + drain + _GRACE, child.killed_at or math.inf)
        os.kill(child.pid, signal.SIGTERM)


def _same(kind: str, one: Setup, other: Setup | None) -> bool:
    """Whether a child of this kind would be the same by both: the steward has nothing to do with certificates."""
    return one is other or (
        kind == STEWARD and other is not None and one.settings is other.settings and one.counters is other.counters
    )
