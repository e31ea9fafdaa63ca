"""The daemon: one process that serves, keeps its data fresh, and ends in good order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import uvloop
from tornado.netutil import bind_sockets, bind_unix_socket

from appliance.config import Settings
from appliance.config_values import Endpoint
from appliance.customers import guards
from appliance.customers.importer import open_newest
from appliance.customers.snapshot import Snapshot
from appliance.edge.listener import Listener
from appliance.edge.site import Limits, NoCounters, Site, by_path
from appliance.edge.tls import CertificateFault, load_pairs, self_signed, server_context
from appliance.edge.web import Activity, Mount, make_application
from appliance.observe.logs import RequestLog, log
from appliance.service.importing import Done, ImportChild
from appliance.service.refresh import Watch
from appliance.service.wiring import (
    StartFault,
    certificate_folder,
    make_mounts,
    plan_of,
    prepare_state,
    snapshot_folder,
)

_SETTLE = 1.0  # seconds between the two looks at a source that has changed


def serve(settings: Settings, environ: Mapping[str, str], request_log: RequestLog) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError and StartFault before anything is served."""
    log_key = prepare_state(settings)
    mounts = make_mounts(settings, environ, log_key)
    context = make_context(settings)
    sockets = bind(settings.server.listen)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Daemon(settings, mounts, request_log).run(sockets, context))


def make_context(settings: Settings) -> ssl.SSLContext | None:
    """Make the TLS context that the settings ask for. Raises StartFault."""
    tls = settings.tls
    if not tls.enabled:
        return None
    try:
        if tls.certificate is not None and tls.key is not None:
            pairs = [(tls.certificate, tls.key), *((more.certificate, more.key) for more in tls.more)]
            context, certificates = load_pairs(pairs, datetime.now(UTC))
            for warning in (sentence for certificate in certificates for sentence in certificate.warnings):
                log.warning("certificate", message=warning)
            return context
        own, own_key = self_signed(certificate_folder(settings), datetime.now(UTC))
        log.warning("self_signed_certificate", file=str(own), todo="name tls.certificate and tls.key")
        return server_context(own, own_key)
    except CertificateFault as fault:
        raise StartFault(str(fault)) from None
    except OSError as error:
        raise StartFault(f"{certificate_folder(settings)}: cannot be written: {error.strerror}") from None


def bind(endpoints: Sequence[Endpoint]) -> list[socket.socket]:
    """Open the listening sockets. Raises StartFault."""
    sockets: list[socket.socket] = []
    for endpoint in endpoints:
        try:
            if endpoint.unix is not None:
                sockets.append(bind_unix_socket(str(endpoint.unix), mode=0o660))
            else:
                sockets += bind_sockets(endpoint.port, endpoint.host, backlog=1024)
        except OSError as error:
            for opened in sockets:
                opened.close()
            raise StartFault(
                f"{endpoint}: cannot listen there: {os.strerror(error.errno or 0)}; {_todo(error)}"
            ) from None
    return sockets


def _todo(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "ports below 1024 need systemd's socket, or root"
    return "choose another port with server.listen, or stop what is listening"


class Daemon:
    """The running service: its listener, its data and its end."""

    def __init__(self, settings: Settings, mounts: Sequence[Mount], request_log: RequestLog) -> None:
        self._settings = settings
        self._mounts = mounts
        self._request_log = request_log
        self._plan = plan_of(settings)
        self._folder: Path = snapshot_folder(settings)
        self._snapshot: Snapshot | None = None
        self._refusal = ""

    async def run(self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None) -> None:
        """Serve on `sockets` until a signal asks for the end, then let what runs finish."""
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        ready = asyncio.Event()
        refresh = asyncio.create_task(self._refresh(ready))
        await _first(ready.wait(), ending.wait(), refresh)
        listener = self._listener(sockets, context)
        listener.start()
        log.info("serving", addresses=[str(one) for one in self._settings.server.listen], tls=context is not None)
        await _first(ending.wait(), refresh)
        log.info("stopping", running=listener.running)
        refresh.cancel()
        listener.stop()
        cut = await listener.drain(self._settings.server.drain)
        log.info("stopped", cut=cut)

    def _listener(self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None) -> Listener:
        server = self._settings.server
        site = Site(
            mounts=by_path(self._mounts),
            application=make_application(self._mounts, self._request_log, time.perf_counter, Activity()),
            request_log=self._request_log,
            counters=NoCounters(),
            timer=time.perf_counter,
            clock=time.time,
        )
        limits = Limits(
            handshake_timeout=server.handshake_timeout,
            header_timeout=server.header_timeout,
            body_timeout=server.body_timeout,
            idle_timeout=server.idle_timeout,
            write_timeout=server.write_timeout,
            max_connections=server.max_connections,
            max_per_source=None if all(map(_local, sockets)) else server.max_per_source,
        )
        return Listener(sockets, context, site, limits)

    def _take_newest(self) -> None:
        newer = open_newest(self._folder, self._plan, self._snapshot.generation if self._snapshot else 0)
        if newer is None:
            return
        for mount in self._mounts:
            mount.app.use(newer)
        if self._snapshot is not None:
            self._snapshot.close()
        self._snapshot = newer
        log.info("snapshot", generation=newer.generation, rows=newer.facts.rows, addresses=newer.facts.addresses)

    async def _refresh(self, ready: asyncio.Event) -> None:
        """Keep the data fresh; `ready` is set when there is a snapshot, or nothing to make one of."""
        self._take_newest()
        watch = Watch(self._snapshot.facts.signature if self._snapshot else "")
        every = self._settings.customers.refresh
        while True:
            if self._snapshot is not None:
                ready.set()
            signature = guards.signature(self._plan)
            if watch.due(signature):
                watch.ended(signature, again=await self._import())
            ready.set()
            await asyncio.sleep(min(_SETTLE, every) if watch.settling else every)

    async def _import(self) -> bool:
        """Import in a child process; say whether the same source may be good the next time it is tried."""
        child = ImportChild(self._plan, self._folder)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(child.descriptor, ended.set)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            child.kill()
            raise
        finally:
            loop.remove_reader(child.descriptor)
            result = child.result()
        if isinstance(result, Done):
            self._refusal = ""
            report = result.report
            log.info("import", rows=report.rows, bad_rows=report.bad_rows, seconds=report.seconds)
            self._take_newest()
            return False
        if result.sentence != self._refusal:  # said once, not at every poll
            self._refusal = result.sentence
            log.error("import_refused", why=result.sentence, bad=[str(row) for row in result.bad])
        return result.transient


def _local(listening: socket.socket) -> bool:
    """Say whether all clients of a socket have one address: it is a Unix socket, or bound to loopback."""
    return listening.family == socket.AF_UNIX or ip_address(listening.getsockname()[0]).is_loopback


async def _first(*waits: Awaitable[object]) -> None:
    """Wait for the first of these; raise what it raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        if task not in waits:
            task.cancel()
    for task in done:
        task.result()
