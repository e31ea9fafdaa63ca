"""Starts the supervisor's child processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Collection

from appliance.bootstrap.deployment import Deployment
from appliance.bootstrap.sockets import Sockets
from appliance.observe.health import SupervisorStatus
from appliance.observe.shared_counters import ChildRow
from appliance.observe.shared_value import SharedValue
from appliance.observe.writer import Writer
from appliance.service.child_context import END_AT_ONCE, ChildContext, ChildKind
from appliance.service.steward import Steward
from appliance.service.worker import Worker
from appliance.system.fork import fork
from appliance.system.raw_output import RawOutput


class ChildStarter:
    """Forks workers and stewards of the process that makes it."""

    def __init__(
        self,
        sockets: Sockets,
        status: SharedValue[SupervisorStatus],
        writer: Writer,
        raw: RawOutput,
        blocked: Collection[signal.Signals],
        *,
        terminal: bool,
    ) -> None:
        """`writer` and `terminal` are the log's; `blocked` are the signals that the supervisor waits for."""
        self._sockets = sockets
        self._status = status
        self._writer = writer
        self._raw = raw
        self._blocked = blocked
        self._terminal = terminal
        self._supervisor = os.pidfd_open(os.getpid())

    def start(self, kind: ChildKind, deployment: Deployment, row: ChildRow) -> int:
        """Start a child of this deployment, and return its pid. Raises OSError if it cannot be started."""
        self._writer.flush()
        context = ChildContext(deployment, row, self._status, self._writer, self._terminal, self._wake)
        pipe = self._raw.open(kind)

        def body() -> None:
            self._raw.redirect_child(pipe)
            if kind is ChildKind.WORKER:
                _close((*self._sockets.admin, *self._sockets.http))
                Worker(context, self._sockets.public).run()
            else:
                _close(self._sockets.public)
                Steward(context, self._sockets.admin, self._sockets.http).run()

        try:
            # END_AT_ONCE may have been blocked by whoever started the service.
            pid = fork(body, self._writer.close, {*self._blocked, END_AT_ONCE})
        except OSError:
            self._raw.discard(pipe)
            raise
        self._raw.watch(pipe, pid)
        return pid

    def close(self) -> None:
        """Release what the children wake the supervisor by."""
        os.close(self._supervisor)

    def _wake(self) -> None:
        signal.pidfd_send_signal(self._supervisor, signal.SIGUSR1)


def _close(sockets: Collection[socket.socket]) -> None:
    for each in sockets:
        each.close()
