"""One process of a load test: sends requests on schedule over its connections, and counts the responses."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from appliance.http_client import CLOSED, NO_ANSWER, TIMEOUT, Failure, explain
from appliance.replay.connection import LoadConnection
from appliance.replay.interval_stats import OTHER_BODY, IntervalRecorder, IntervalStats, Ready
from appliance.replay.load_profile import ClosedLoop, LoadProfile, OpenLoop, PreparedRequest
from appliance.replay.target import LoadTarget, ResumingContext
from appliance.replay.timer_fd import TimerFd

ON_TIME: Final = 0.001
"""Seconds: a request that starts later than this is late."""

_STALE: Final = 5.0  # seconds: a connection that was idle for longer may be closed just when it is used again
_SWEEP: Final = 1.0
_PAUSE: Final = 0.1  # seconds, after a connection failed in a closed loop: it would be refused again at once


class Driver:
    """Sends `requests` in a cycle."""

    def __init__(
        self,
        profile: LoadProfile,
        target: LoadTarget,
        requests: Sequence[PreparedRequest],
        process: int,
        *,
        tell: Callable[[IntervalStats], None],
        timer: Callable[[], float],
    ) -> None:
        """`timer` is time.monotonic, which every process shares."""
        self._profile, self._target, self._process = profile, target, process
        self._loop = asyncio.get_running_loop()
        self._most = profile.connections_of(process)
        # In an open loop all processes together send the lines in order; in a closed one each begins somewhere else.
        step, first = (
            (profile.processes, process) if profile.rate else (1, process * len(requests) // profile.processes)
        )
        places = itertools.count(first, step)
        self._requests = (requests[place % len(requests)] for place in places)
        self._tell, self._timer = tell, timer
        self._recorder = IntervalRecorder()
        self._connections: set[LoadConnection] = set()
        self._free: deque[LoadConnection] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._schedule: OpenLoop | ClosedLoop = ClosedLoop(is_over=True)  # nothing is due before `run`
        self._timer_fd = TimerFd(self._loop, self._fire)
        self._done = self._loop.create_future()
        self._ending = False
        self._stopped = self._last = 0.0  # when the last request could start, and when the last response came
        self.not_started = 0

    async def open(self) -> Ready:
        """Open the connections that are kept, and return how many failed; `run` counts from zero.

        If each request opens its own, try TLS once: that the port is open is known.
        """
        wanted = self._most if not self._profile.close else int(self._target.context is not None)
        await asyncio.gather(*(self._connect(None, 0.0) for _ in range(wanted)))
        counts, self._recorder = self._recorder.counts, IntervalRecorder()
        if self._profile.close:
            while self._free:
                self._drop(self._free.popleft())
        return Ready(counts.opened, counts.failures)

    async def run(self, begin: float) -> float:
        """Send requests from `begin` on; return how many seconds passed until the last response."""
        profile = self._profile
        if profile.rate is None:
            self._schedule = ClosedLoop()
        else:
            self._schedule = OpenLoop(begin, profile.rate, profile.planned or 0, self._process, profile.processes)
        timers = [asyncio.create_task(self._report(begin)), asyncio.create_task(self._sweep())]
        self._loop.call_at(self._loop.time() + begin + profile.duration - self._timer(), self.stop)
        self._timer_fd.arm(begin)
        await self._done
        for timer in timers:
            timer.cancel()
        self._timer_fd.close()
        self._tell(self._recorder.finish())
        return max(self._stopped, self._last) - begin

    def stop(self) -> None:
        """Start no more requests; those that run are waited for."""
        if not self._ending:
            self._ending = True
            self._stopped = self._timer()
            self.not_started = self._schedule.stop(self._stopped)
            while self._free:
                self._drop(self._free.popleft())
            self._end()

    # Sending.

    def _fire(self, waited: bool = False) -> None:
        """Start all requests that are due, as far as there are connections; the next free connection starts the next.

        A late request has `waited` for a connection, or else the timer was late.
        """
        now = self._timer()
        schedule = self._schedule
        while schedule.is_due(now):
            connection = self._take_free(now)
            if connection is None and len(self._connections) + len(self._opening) >= self._most:
                return
            planned = schedule.take(now)
            if now - planned > ON_TIME:
                self._recorder.counts.waited += waited
                self._recorder.counts.late += not waited
            request = next(self._requests)
            if connection is not None:
                connection.send(request, planned, now)
            else:
                task = self._loop.create_task(self._connect(request, planned))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
        if not schedule.is_over:
            self._timer_fd.arm(schedule.next)

    def _take_free(self, now: float) -> LoadConnection | None:
        while self._free:
            connection = self._free.popleft()
            if now - connection.since < _STALE and not connection.transport.is_closing():
                return connection
            self._drop(connection)
        return None

    async def _connect(self, request: PreparedRequest | None, planned: float) -> None:
        target, context, connection = self._target, self._target.context, LoadConnection(self)
        offers = isinstance(context, ResumingContext) and context.session is not None
        failure: Failure | None = None
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._loop.create_connection(
                    lambda: connection,
                    target.address,
                    target.url.port,
                    ssl=context,
                    server_hostname=target.url.host if context is not None else None,
                )
        except (OSError, TimeoutError) as error:
            failure = explain(error)
        self._opening.discard(asyncio.current_task())
        if failure or connection.gone:
            self._recorder.failed((failure or CLOSED).kind)
            self._go_on(_PAUSE if self._profile.rate is None else 0.0)
            return
        counts = self._recorder.counts
        counts.opened += 1
        counts.offered += offers
        counts.resumed += offers and connection.is_resumed
        self._connections.add(connection)
        connection.since = self._timer()
        if request is None:
            self._free.append(connection)
        else:
            connection.send(request, planned, connection.since)

    # Responses.

    def answered(
        self, connection: LoadConnection, request: PreparedRequest, status: int, body: bytes, keeps: bool
    ) -> None:
        """Count a response, and start the next request that is due."""
        now = self._last = self._timer()
        recorder = self._recorder
        recorder.latency(int((now - connection.planned) * 1e6))
        recorder.statuses[status] = recorder.statuses.get(status, 0) + 1
        if request.status is not None and status != request.status:
            recorder.wrong(f"status {status} where {request.status} was expected", request.number)
        elif request.body is not None and body != request.body:
            recorder.wrong(OTHER_BODY, request.number, (request.body, body))
        if self._profile.close or not keeps or self._ending:
            if isinstance(self._target.context, ResumingContext):
                # TLS 1.3 sends it after the handshake, so it has come with the response (RFC 8446, 4.6.1).
                self._target.context.session = connection.session
            self._drop(connection)
            self._go_on()
        elif self._schedule.is_due(now):
            planned = self._schedule.take(now)
            if now - planned > ON_TIME:
                recorder.counts.waited += 1
            connection.send(next(self._requests), planned, now)
        else:
            connection.since = now
            self._free.append(connection)
            self._timer_fd.arm(self._schedule.next)

    def lost(self, connection: LoadConnection, failure: Failure) -> None:
        """Count a lost connection if a request was running; the service may close an idle one."""
        running = connection.request is not None
        self._connections.discard(connection)
        if running:
            self._recorder.failed(failure.kind)
        elif connection in self._free:
            self._free.remove(connection)
        self._go_on(_PAUSE if running and self._profile.rate is None else 0.0)

    def _drop(self, connection: LoadConnection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _go_on(self, pause: float = 0.0) -> None:
        """Start what is due after the current callback, or finish if nothing is running any more."""
        if self._ending:
            self._end()
        elif pause:
            self._loop.call_later(pause, self._fire, True)
        else:
            self._loop.call_soon(self._fire, True)

    def _end(self) -> None:
        if not self._connections and not self._opening and not self._done.done():
            self._done.set_result(None)

    # Timers.

    async def _report(self, begin: float) -> None:
        """Report each interval when it is over; what comes after the end belongs to the last one."""
        for place in range(1, self._profile.steps):
            await asyncio.sleep(begin + place * self._profile.step - self._timer())
            finished, self._recorder = self._recorder, IntervalRecorder(place)
            self._tell(finished.finish())

    async def _sweep(self) -> None:
        """Give up on requests that take too long."""
        while True:
            await asyncio.sleep(_SWEEP)
            oldest = self._timer() - TIMEOUT
            for connection in [one for one in self._connections if one.request is not None and one.since < oldest]:
                connection.close()
                self.lost(connection, NO_ANSWER)
