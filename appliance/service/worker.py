"""A worker: serves the public port on its own event loop, from the newest snapshot.

    STARTING   everything is built; nothing is accepted
    READY      it accepts connections, reports its heartbeat each second, and switches to a newer snapshot within one
    DRAINING   after SIGTERM: nothing is accepted; running requests finish, for `drain` seconds at most
    (ended)    after the last request, the end of `drain`, or END_AT_ONCE; what is cut off is counted and logged

SIGHUP and SIGINT are ignored: the supervisor acts on them. If the supervisor dies, so does the worker (fork.py). If its
event loop does not run, no heartbeat is reported and the supervisor kills it. Whatever a request raises is answered
with 500, and the worker goes on (edge/).
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import uvloop

from appliance.bootstrap.sockets import is_local
from appliance.bootstrap.state_folder import acme_folder, ids_folder, snapshot_folder
from appliance.bootstrap.wiring import trail_file
from appliance.customers.snapshot import Snapshot
from appliance.customers.snapshot_store import open_newest
from appliance.edge.first_bytes import Balancers
from appliance.edge.listener import Listener
from appliance.edge.site import Site, by_path
from appliance.edge.validation import Validations
from appliance.edge.web import make_application
from appliance.observe.audit_trail import AuditTrail
from appliance.observe.logs import RequestLog, RequestSinks, log
from appliance.service import id_channel
from appliance.service.child_context import END_AT_ONCE, ChildContext
from appliance.service.heartbeat import BEAT_EVERY
from appliance.service.learner import Learner
from appliance.service.refusal_sampler import RefusalSampler

_LEARN_WITHIN: Final = 1.0
"""Seconds in which the steward is to store what a message says of an id; the next message says it again."""

_COLLECT_AFTER: Final = (50_000, 20, 20)
"""A request leaves no reference cycles; a collection every 700 objects would take 2 % of the time."""


class Worker:
    """One worker process."""

    def __init__(self, context: ChildContext, sockets: Sequence[socket.socket]) -> None:
        """`sockets` listen already."""
        settings = context.deployment.settings
        self._context = context
        self._status, self._counters = context.row.status, context.row.counters
        self._folder = snapshot_folder(settings)
        self._drain = settings.server.drain
        self._snapshot: Snapshot | None = None
        self._request_log = RequestLog(context.writer, time.time, on=settings.log.requests, terminal=context.terminal)
        file = trail_file(settings)
        self._trail = AuditTrail(file, self._counters, time.time) if file is not None else None
        mounts = context.deployment.mounts
        store = partial(id_channel.store, ids_folder(settings))
        has_page = any(mount.webhook is not None for mount in mounts)
        learner = Learner(partial(store, patience=_LEARN_WITHIN), settings.helpscout.learn) if has_page else None
        asks = context.deployment.api_credentials is not None
        sinks = RequestSinks([sink for sink in (self._request_log, self._trail, learner) if sink is not None])
        sampler = RefusalSampler((mount.app for mount in mounts), self._counters, timer=time.monotonic, clock=time.time)
        self._site = Site(
            mounts=by_path(mounts),
            application=make_application(
                mounts,
                sinks,
                time.perf_counter,
                self._counters,
                sampler,
                store,
                ask_about=partial(id_channel.ask, ids_folder(settings)) if asks else None,
            ),
            request_log=sinks,
            counters=self._counters,
            sample_refusal=sampler,
            timer=time.perf_counter,
            clock=time.time,
        )
        limits = settings.server
        self._balancers = Balancers(limits.proxy_protocol_from, limits.max_per_source)
        groups = ((limits, False), (replace(limits, max_per_source=None), True))
        self._groups = [
            (group, its_limits)
            for its_limits, local in groups
            if (group := [one for one in sockets if is_local(one) is local])
        ]

    def run(self) -> None:
        """Serve until SIGTERM, then finish the running requests; END_AT_ONCE ends that wait."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        ending, hurry = asyncio.Event(), asyncio.Event()

        def end_at_once() -> None:
            ending.set()
            hurry.set()

        loop.add_signal_handler(signal.SIGTERM, ending.set)
        loop.add_signal_handler(END_AT_ONCE, end_at_once)
        self._tick(loop)
        tls_context = self._context.deployment.tls_context
        validations = _validations(self._context)
        listeners = [
            Listener(group, tls_context, self._site, limits, loop, self._balancers, validations)
            for group, limits in self._groups
        ]
        for listener in listeners:
            listener.start()
        # All objects up to here stay: they are excluded from collections, which would copy their pages.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        self._status.ready = True
        self._context.wake()
        await ending.wait()
        for listener in listeners:
            listener.stop()
        self._status.ready = False
        self._context.wake()
        await self._finish(listeners, hurry)

    async def _finish(self, listeners: Sequence[Listener], hurry: asyncio.Event) -> None:
        draining = asyncio.gather(*(listener.drain(self._drain) for listener in listeners))
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if draining.done():
            cut = sum(draining.result())
        else:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            cut = sum([await listener.drain(0) for listener in listeners])
        if cut:
            log.warning("requests_cut_off", count=cut)
        self._request_log.close()
        if self._trail is not None:
            await self._trail.close()
        if self._snapshot is not None:
            self._snapshot.close()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do what is done once a second. Without this heartbeat the supervisor takes the process for stuck."""
        loop.call_later(BEAT_EVERY, self._tick, loop)
        self._status.beat()
        self._use_newest_snapshot()
        self._request_log.tick()
        for mount in self._context.deployment.mounts:
            mount.app.expire_cache()
        writer = self._context.writer
        writer.flush()  # what other threads have logged
        if writer.dropped:
            dropped, writer.dropped = writer.dropped, 0
            self._counters.lines_dropped(dropped)
            log.warning("log_lines_dropped", count=dropped)

    def _use_newest_snapshot(self) -> None:
        """Switch to a newer snapshot, if there is one.

        After the folder was removed, generations begin at 1 again: any snapshot that is there is newer.
        """
        current = self._snapshot
        after = current.generation if current is not None and current.in_place() else 0
        newer = open_newest(self._folder, self._context.deployment.import_spec.digest(), after)
        if newer is None:
            if current is not None:
                current.read_confirmation()
            return
        for mount in self._context.deployment.mounts:
            mount.app.use(newer)
        if self._snapshot is not None:
            self._snapshot.close()
        self._snapshot = newer
        self._status.generation = newer.generation
        log.debug("snapshot", generation=newer.generation, rows=newer.metadata.rows, addresses=newer.metadata.addresses)


def _validations(context: ChildContext) -> Validations | None:
    """Return what answers the authority of [acme]; None, and nothing imported, without any."""
    settings, steward = context.deployment.settings, context.deployment.counters.steward.status
    if not settings.acme.enabled:
        return None
    from appliance.acme.challenges import ChallengeContexts
    from appliance.acme.storage import Storage

    return ChallengeContexts(Storage(acme_folder(settings)).challenges, lambda: steward.challenged)
