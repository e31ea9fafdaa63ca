"""The supervisor's child processes: started, watched, replaced and ended, until they are what is wanted.

`reconcile` compares what runs with what is wanted: as many ready workers as a deployment has, and one steward. It does
what can be done now and waits for nothing; called again and again, it gets there. A child is in one of these states:

    STARTING   forked; it has not reported that it is ready
    READY      it does its work: a worker accepts connections, a steward answers the admin pages
    STUCK      it showed no sign of life for too long, and was sent SIGKILL
    STOPPING   it is no longer wanted and was sent SIGTERM; SIGKILL follows at its deadline

    event                              STARTING   READY      STUCK      STOPPING
    its row says that it is ready      READY      -          -          -
    heartbeats stop (heartbeat.py)     STUCK      STUCK      -          -
    it is no longer wanted, or none is STOPPING   STOPPING   STOPPING   -
    all are to end at once             -          -          -          STOPPING, its deadline sooner
    it exits                           removed    removed    removed    removed

A worker of another deployment is stopped only while enough others are ready without it. So workers are replaced one by
one, and each new one is ready before an old one stops to accept; both have a row in the shared memory until then.
There is never a second steward: it alone writes the state folder, so the next one starts when the last one has ended.

What follows when a child exits, unless it was STOPPING or all are ending:

    a worker that was ready        it is replaced, at once or after a short pause (backoff.py)
    a worker that never was        it is replaced, after a longer pause each time. If no worker of its deployment ever
                                   was ready, that is a `failed_startup`: the supervisor gives that deployment up
    a steward                      it is replaced; `steward_failed` ends the supervisor's wait for the first import
    any, with exit code 0          it is replaced without a word: somebody else sent it SIGTERM
    fork() fails                   those that run go on; it is tried again each second, logged once, and in /healthz

If the supervisor itself dies, in whatever way, the kernel kills its children (fork.py).
"""

from __future__ import annotations

import enum
import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.bootstrap.deployment import Deployment
from appliance.observe.logs import log
from appliance.observe.shared_counters import ChildRow
from appliance.service.backoff import Backoff
from appliance.service.child_context import END_AT_ONCE, ChildKind
from appliance.service.heartbeat import Heartbeat
from appliance.system.fork import fork_failure

WORKER: Final = ChildKind.WORKER
STEWARD: Final = ChildKind.STEWARD

_GRACE: Final = 2.0
"""Seconds that a child may take to end after SIGTERM, besides what its requests may take."""

Start = Callable[[ChildKind, Deployment, ChildRow], int]
"""Forks a child of a deployment, which reports in the row, and returns its pid. Raises OSError."""


class State(enum.Enum):
    """The state of a child; the table above has the transitions."""

    STARTING = enum.auto()
    READY = enum.auto()
    STUCK = enum.auto()
    STOPPING = enum.auto()


@dataclass(slots=True, eq=False)
class Child:
    """One child process."""

    kind: ChildKind
    pid: int
    deployment: Deployment
    row: ChildRow
    heartbeat: Heartbeat
    started: float
    state: State = State.STARTING
    was_ready: bool = False
    deadline: float = math.inf  # of a STOPPING one: when it is sent SIGKILL


class Fleet:
    """The child processes."""

    def __init__(
        self, start: Start, timer: Callable[[], float], stuck_after: float, read_output: Callable[[], None]
    ) -> None:
        """`timer` returns seconds; a child without a heartbeat for `stuck_after` of them is killed.

        `read_output` logs what children have written to stdout and stderr.
        """
        self._read_output = read_output
        self._start = start
        self._timer = timer
        self._stuck_after = stuck_after
        self._children: dict[int, Child] = {}
        self._backoff = {kind: Backoff(timer) for kind in ChildKind}
        self._ending = False
        self._proven: Deployment | None = None  # the last one of which a worker was ready
        self._desired_workers: Deployment | None = None
        self._desired_steward: Deployment | None = None
        self.failed_startup: Deployment | None = None
        """The deployment being rolled out, if a worker of it exited at startup and none was ever ready."""
        self.steward_failed = False
        """Whether a steward exited since the last deployment was prepared."""
        self.start_fault = ""
        """Why a child that is wanted cannot be started; "" if none is missing for that reason."""
        self.restarts = dict.fromkeys(ChildKind, 0)

    # What is wanted

    def prepare(self, deployment: Deployment) -> None:
        """Want the steward of this deployment; the workers stay."""
        self._desired_steward = deployment
        self.steward_failed = False
        self.failed_startup = None

    def roll_out(self, deployment: Deployment) -> None:
        """Want the workers of this deployment."""
        self._desired_workers = deployment

    def roll_back(self, deployment: Deployment | None) -> None:
        """Want the workers and the steward of this deployment again."""
        self._desired_steward = self._desired_workers = deployment

    def end(self) -> None:
        """Tell every child to finish, and start none from now on. The second time: to end at once."""
        at_once, self._ending = self._ending, True
        for child in self._children.values():
            self._terminate(child, at_once=at_once)

    # What is there

    @property
    def is_empty(self) -> bool:
        """Whether every child has ended."""
        return not self._children

    @property
    def is_complete(self) -> bool:
        """Whether all wanted workers are ready, and no other worker accepts connections."""
        wanted = self._desired_workers
        accepting = [child for child in self._children.values() if child.kind is WORKER and child.row.status.ready]
        return wanted is not None and len(self._serving()) == wanted.workers == len(accepting)

    @property
    def initial_import_done(self) -> bool:
        """Whether the wanted steward has read the source once, successfully or not, or did not have to."""
        return any(
            child.row.status.initial_import_done
            for child in self._running(STEWARD)
            if _has_same_steward(child.deployment, self._desired_steward)
        )

    def _running(self, kind: ChildKind = WORKER) -> list[Child]:
        """Return the children of a kind that were not told to stop."""
        return [child for child in self._children.values() if child.kind is kind and child.state is not State.STOPPING]

    def _serving(self) -> list[Child]:
        """Return the ready workers of the wanted deployment; a stuck one counts until it is gone."""
        return [child for child in self._running() if child.was_ready and child.deployment is self._desired_workers]

    # From what is there to what is wanted

    def reconcile(self) -> None:
        """Record what became of the children; start and stop what has to be."""
        self._reap()
        self._poll()
        if not self._ending:
            self._stop_obsolete()
            self._start_missing()

    def kill(self) -> None:
        """Kill every child, and wait until it has ended. Does nothing when there is none."""
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._children.clear()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue  # process 1 of a container inherits other processes' children
            self._read_output()  # before its death is logged: now it can have written nothing more
            child.was_ready |= child.row.status.ready  # it may have become ready since the last poll
            if lost := child.row.counters.trail_waiting:
                child.row.counters.trail_lost(lost)
                log.error("trail_lines_lost", count=lost, why="the worker ended before they were written")
            child.row.reset_gauges()
            if child.state is not State.STOPPING:
                self._handle_exit(child, os.waitstatus_to_exitcode(status))

    def _handle_exit(self, child: Child, code: int) -> None:
        """Handle the exit of a child that was not told to stop."""
        lived = self._timer() - child.started
        delay = self._backoff[child.kind].record_exit(was_ready=child.was_ready, lived=lived)
        if self._ending or code == 0:
            return
        self.restarts[child.kind] += 1
        how = {"signal": -code} if code < 0 else {"code": code}
        log.error(
            "worker_died" if child.kind is WORKER else "steward_died",
            pid=child.pid,
            **how,
            ready=child.was_ready,
            restart_in=delay,
        )
        if child.kind is STEWARD:
            self.steward_failed = True
        elif not child.was_ready and child.deployment is not self._proven:
            self.failed_startup = child.deployment

    def _poll(self) -> None:
        now = self._timer()
        for child in self._children.values():
            if child.state is State.STARTING and child.row.status.ready:
                child.state, child.was_ready = State.READY, True
                if child.kind is WORKER:
                    self._proven = child.deployment
            if child.state is State.STOPPING:
                if now >= child.deadline:
                    os.kill(child.pid, signal.SIGKILL)
            elif child.state is not State.STUCK and child.heartbeat.is_stuck(child.row.status.beats):
                child.state = State.STUCK
                log.error(
                    "worker_stuck" if child.kind is WORKER else "steward_stuck",
                    pid=child.pid,
                    seconds=self._stuck_after,
                )
                os.kill(child.pid, signal.SIGKILL)

    def _stop_obsolete(self) -> None:
        for child in self._running(STEWARD):
            if not _has_same_steward(child.deployment, self._desired_steward):
                self._terminate(child)
        if self._desired_workers is None:
            return
        running = self._running()
        ready = sum(child.was_ready for child in running)
        for child in running:
            ready_without = ready - 1 if child.was_ready else ready
            if child.deployment is not self._desired_workers and ready_without >= self._desired_workers.workers:
                self._terminate(child)
                ready = ready_without

    def _start_missing(self) -> None:
        """Start what is missing, as far as possible now; the next call tries again."""
        has_steward = self._has_steward() or self._start_steward()
        deployment = self._desired_workers
        while deployment is not None and self._backoff[WORKER].is_over:
            row = self._free_row(deployment)
            if row is None or not self._is_worker_missing(deployment):
                if has_steward and self.start_fault:
                    self.start_fault = ""
                    log.info("start_of_process_works")
                return
            if not self._fork(WORKER, deployment, row):
                return

    def _has_steward(self) -> bool:
        """Return whether there is a steward, or none is wanted. One that is stopping is one until it has ended."""
        wanted = self._desired_steward is not None
        return not wanted or any(child.kind is STEWARD for child in self._children.values())

    def _start_steward(self) -> bool:
        deployment = self._desired_steward
        if deployment is None or not self._backoff[STEWARD].is_over:
            return False
        return self._fork(STEWARD, deployment, deployment.counters.steward)

    def _is_worker_missing(self, deployment: Deployment) -> bool:
        running = self._running()
        if len(running) < deployment.workers:
            return True
        # All places are taken, some by workers of another deployment: one more than wanted, once all are ready.
        return len(self._serving()) < deployment.workers and all(child.was_ready for child in running)

    def _free_row(self, deployment: Deployment) -> ChildRow | None:
        """Return a row that no worker uses; None while those that are stopping use them all."""
        used = {id(child.row) for child in self._children.values()}
        rows = map(deployment.counters.worker, range(deployment.counters.places))
        return next((row for row in rows if id(row) not in used), None)

    def _fork(self, kind: ChildKind, deployment: Deployment, row: ChildRow) -> bool:
        """Start a child, and return whether it was started. The reason why not is logged once."""
        heartbeat = Heartbeat(self._timer, self._stuck_after)
        try:
            pid = self._start(kind, deployment, row)
        except OSError as error:
            delay = self._backoff[kind].record_failed_fork()
            why = fork_failure(error)
            if why != self.start_fault:
                self.start_fault = why
                log.error("start_of_process_failed", kind=kind, why=why, again_in=delay)
            return False
        self._children[pid] = Child(kind, pid, deployment, row, heartbeat, self._timer())
        return True

    def _terminate(self, child: Child, *, at_once: bool = False) -> None:
        is_worker = child.kind is WORKER
        drain = child.deployment.settings.server.drain if is_worker and not at_once else 0.0
        child.state = State.STOPPING
        child.deadline = min(child.deadline, self._timer() + drain + _GRACE)
        os.kill(child.pid, END_AT_ONCE if is_worker and at_once else signal.SIGTERM)


def _has_same_steward(one: Deployment, other: Deployment | None) -> bool:
    """Whether the steward of one is as good for the other: it has nothing to do with certificates."""
    return other is not None and one.settings is other.settings
