"""One process of a run: keeps to its plan over its connections, and counts what comes back."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from appliance.replay.client import Client
from appliance.replay.pacer import Pacer
from appliance.replay.plan import ClosedLoop, OpenLoop, Plan, Shot
from appliance.replay.tally import CLOSED, NO_ANSWER, OTHER_BODY, PATIENCE, Ready, Slice, Tally, kind_of
from appliance.replay.target import Resuming, Target

ON_TIME: Final = 0.001
"""Seconds: a start is late from here on."""

_STALE: Final = 5.0  # seconds: a connection that was idle for longer may be closed just when it is used again
_SWEEP: Final = 1.0
_PAUSE: Final = 0.1  # after a connection failed, in a closed loop: whoever is refused would be again at once


class Driver:
    """Sends `shots`, again from the first when all were sent."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        shots: Sequence[Shot],
        process: int,
        *,
        tell: Callable[[Slice], None],
        timer: Callable[[], float],
    ) -> None:
        """`timer` is time.monotonic, which every process shares."""
        self._plan, self._target, self._process = plan, target, process
        self._loop = asyncio.get_running_loop()
        self._most = plan.connections_of(process)
        # All processes together send the lines in their order, or from places that are far apart.
        step, first = (plan.processes, process) if plan.rate else (1, process * len(shots) // plan.processes)
        places = itertools.count(first, step)
        self._shots = (shots[place % len(shots)] for place in places)
        self._tell, self._timer = tell, timer
        self._tally = Tally()
        self._clients: set[Client] = set()
        self._free: deque[Client] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._schedule: OpenLoop | ClosedLoop = ClosedLoop(is_over=True)  # nothing is due before the run
        self._pacer = Pacer(self._loop, self._fire)
        self._done = self._loop.create_future()
        self._ending = False
        self._stopped = self._last = 0.0  # when the last request could start, and the last answer came
        self.unsent = 0

    async def open(self) -> Ready:
        """Open the connections that are to be kept, and return what came of it: in the run it counts anew.

        If each request is to open its own, try TLS once: that the port is open is known.
        """
        wanted = self._most if not self._plan.close else int(self._target.context is not None)
        await asyncio.gather(*(self._connect(None, 0.0) for _ in range(wanted)))
        counts, self._tally = self._tally.counts, Tally()
        if self._plan.close:
            while self._free:
                self._drop(self._free.popleft())
        return Ready(counts.opened, counts.failures)

    async def run(self, begin: float) -> float:
        """Load the service from `begin` on; give how many seconds passed until the last answer."""
        plan = self._plan
        if plan.rate is None:
            self._schedule = ClosedLoop()
        else:
            self._schedule = OpenLoop(begin, plan.rate, plan.planned or 0, self._process, plan.processes)
        timers = [asyncio.create_task(self._count(begin)), asyncio.create_task(self._sweep())]
        self._loop.call_at(self._loop.time() + begin + plan.duration - self._timer(), self.stop)
        self._pacer.arm(begin)
        await self._done
        for timer in timers:
            timer.cancel()
        self._pacer.close()
        self._tell(self._tally.finish())
        return max(self._stopped, self._last) - begin

    def stop(self) -> None:
        """Start no more requests; those that run are waited for."""
        if not self._ending:
            self._ending = True
            self._stopped = self._timer()
            self.unsent = self._schedule.stop(self._stopped)
            while self._free:
                self._drop(self._free.popleft())
            self._end()

    # Sending.

    def _fire(self, waited: bool = False) -> None:
        """Start all that is due, as far as there are connections; whichever is free first starts the next.

        What starts late has `waited` for a connection, or else the timer was late.
        """
        now = self._timer()
        schedule = self._schedule
        while schedule.is_due(now):
            client = self._take_free(now)
            if client is None and len(self._clients) + len(self._opening) >= self._most:
                return
            planned = schedule.take(now)
            if now - planned > ON_TIME:
                self._tally.counts.waited += waited
                self._tally.counts.late += not waited
            shot = next(self._shots)
            if client is not None:
                client.send(shot, planned, now)
            else:
                task = self._loop.create_task(self._connect(shot, planned))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
        if not schedule.is_over:
            self._pacer.arm(schedule.next)

    def _take_free(self, now: float) -> Client | None:
        while self._free:
            client = self._free.popleft()
            if now - client.since < _STALE:
                return client
            self._drop(client)
        return None

    async def _connect(self, shot: Shot | None, planned: float) -> None:
        target, context, client = self._target, self._target.context, Client(self)
        offers = isinstance(context, Resuming) and context.session is not None
        failure = ""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._loop.create_connection(
                    lambda: client,
                    target.address,
                    target.url.port,
                    ssl=context,
                    server_hostname=target.url.host if context is not None else None,
                )
        except (OSError, TimeoutError) as error:
            failure = kind_of(error)
        self._opening.discard(asyncio.current_task())
        if failure or client.gone:
            self._tally.failed(failure or CLOSED)
            self._go_on(_PAUSE if self._plan.rate is None else 0.0)
            return
        counts = self._tally.counts
        counts.opened += 1
        counts.offered += offers
        counts.resumed += offers and client.is_resumed
        self._clients.add(client)
        client.since = self._timer()
        if shot is None:
            self._free.append(client)
        else:
            client.send(shot, planned, client.since)

    # What came of it.

    def answered(self, client: Client, shot: Shot, status: int, body: bytes, keeps: bool) -> None:
        """Take an answer, and start the next request that is due."""
        now = self._last = self._timer()
        tally = self._tally
        tally.latency(int((now - client.planned) * 1e6))
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        if shot.status is not None and status != shot.status:
            tally.wrong(f"status {status} where {shot.status} was expected", shot.number)
        elif shot.body is not None and body != shot.body:
            tally.wrong(OTHER_BODY, shot.number, (shot.body, body))
        if self._plan.close or not keeps or self._ending:
            if isinstance(self._target.context, Resuming):
                # TLS 1.3 sends it after the handshake, so it is there with the answer (RFC 8446, 4.6.1).
                self._target.context.session = client.session
            self._drop(client)
            self._go_on()
        elif self._schedule.is_due(now):
            planned = self._schedule.take(now)
            if now - planned > ON_TIME:
                tally.counts.waited += 1
            client.send(next(self._shots), planned, now)
        else:
            client.since = now
            self._free.append(client)
            self._pacer.arm(self._schedule.next)

    def lost(self, client: Client, kind: str) -> None:
        """Take the end of a connection; an idle one that the service closes is no failure."""
        running = client.shot is not None
        self._clients.discard(client)
        if running:
            self._tally.failed(kind)
        elif client in self._free:
            self._free.remove(client)
        self._go_on(_PAUSE if running and self._plan.rate is None else 0.0)

    def _drop(self, client: Client) -> None:
        self._clients.discard(client)
        client.close()

    def _go_on(self, pause: float = 0.0) -> None:
        """Start what is due once the running callback is over, or end if nothing runs any more."""
        if self._ending:
            self._end()
        elif pause:
            self._loop.call_later(pause, self._fire, True)
        else:
            self._loop.call_soon(self._fire, True)

    def _end(self) -> None:
        if not self._clients and not self._opening and not self._done.done():
            self._done.set_result(None)

    # By the clock.

    async def _count(self, begin: float) -> None:
        """Hand on each slice when its time is over; what comes after the end is the last one's too."""
        for place in range(1, self._plan.steps):
            await asyncio.sleep(begin + place * self._plan.step - self._timer())
            finished, self._tally = self._tally, Tally(place)
            self._tell(finished.finish())

    async def _sweep(self) -> None:
        """Give up on answers that nobody would wait for."""
        while True:
            await asyncio.sleep(_SWEEP)
            oldest = self._timer() - PATIENCE
            for client in [one for one in self._clients if one.shot is not None and one.since < oldest]:
                client.close()
                self.lost(client, NO_ANSWER)
