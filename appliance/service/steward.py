"""The steward: the maintenance process. It keeps the data fresh, answers the admin pages, and serves no customer.

It alone writes the state folder. It polls the source each `refresh`, and each second while it waits for something:

    the source is                              then
    as it was imported                         nothing is done
    changed at this poll                       wait a second: it may still be written (change_detector.py)
    changed, and a file looks incomplete       wait until it is closed, or was not written to for a while (stability.py)
    changed, and stable                        import in a child process with limits (import_child.py):
        imported                                 the workers switch to the new snapshot by themselves, within a second
        refused because of its content           wait until it changes; the last snapshot stays in use
        refused for another reason               import again at the next poll; the last snapshot stays in use
    on a server                                fetch and import (fetch_schedule.py)
    anything, and there is no snapshot         import at once
    anything, and the state folder unusable    import nothing; poll the folder each second

A refusal is logged once, and is in /healthz until an import works. An import that crashes, hangs, or cannot be forked
is refused for another reason. SIGTERM, or the steward's death, kills a running import; the next steward begins again.
The first round, with or without an import, ends with `initial_import_done`, for which a start and a reload wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import socket
import time
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from appliance.bootstrap.column_faults import column_faults
from appliance.bootstrap.sources import refresh_of
from appliance.bootstrap.state_folder import ids_folder, prepare_state, snapshot_folder, state_fault
from appliance.customers.since import Since
from appliance.customers.snapshot import SnapshotMetadata
from appliance.customers.snapshot_store import open_newest
from appliance.errors import StartError
from appliance.inbox_api import wire
from appliance.inbox_api.client import InboxApi, Trouble
from appliance.inbox_api.process import ApiProcess
from appliance.ingest.fetch import Known
from appliance.ingest.fingerprint import fingerprint
from appliance.ingest.spec import ImportRefused
from appliance.observe import admin, history, status_page
from appliance.observe.health import FetchInfo, Health, Import, SnapshotInfo, Workers, examine
from appliance.observe.logs import log
from appliance.service.change_detector import ChangeDetector
from appliance.service.child_context import ChildContext
from appliance.service.child_end import ends_within
from appliance.service.fetch_schedule import FetchSchedule
from appliance.service.heartbeat import BEAT_EVERY
from appliance.service.id_channel import IdService
from appliance.service.import_child import (
    MAX_SECONDS,
    ImportChild,
    ImportDone,
    ImportFailed,
    ImportResult,
    ImportUnchanged,
)
from appliance.service.stability import StabilityCheck
from appliance.system.work_thread import WorkThread
from appliance.system.write_monitor import WriteMonitor

if TYPE_CHECKING:
    from appliance.service.renewals import Renewals

_SHORT_POLL: Final = 1.0
"""Seconds between two polls of a source that has changed, and between two of the state folder."""

_CLOCK_TOLERANCE: Final = 60.0
"""Seconds by which data may be from the future: time synchronization sets a clock back by less."""

_ADMIN_TIMEOUT: Final = 10.0
_ADMIN_BYTES: Final = 16 * 1024


class Steward:
    """The steward process."""

    def __init__(
        self, context: ChildContext, sockets: Sequence[socket.socket], http: Sequence[socket.socket] = ()
    ) -> None:
        """`sockets`, those of the admin pages, and `http`, those for an authority's questions, listen already."""
        self._context = context
        self._sockets = sockets
        self._deployment = context.deployment
        self._folder = snapshot_folder(context.deployment.settings)
        self._last_import: Import | None = None
        self._fetch = FetchInfo() if context.deployment.import_spec.is_fetched else None
        has_page = any(app.page is not None for app in context.deployment.settings.apps)
        self._thread = WorkThread("ids")
        self._api_process = ApiProcess(wire.API, still=self._thread.still)
        self._ids = self._make_id_service() if has_page else None
        self._renewals: Renewals | None = None
        if context.deployment.settings.acme.enabled:  # without it nothing of it is imported
            from appliance.service.renewals import Renewals

            self._renewals = Renewals(context, http, self._thread)
        self._history = history.History()
        self._since = Since()
        self._state_fault = self._stability_warning = ""
        self._warned_of_clock = False

    def run(self) -> None:
        """Work until SIGTERM."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ending.set)
        self._tick(loop)
        self._record_history(loop)
        server = admin.AdminServer(
            admin.make_application(self.health, self.metrics, self.status),
            idle_connection_timeout=_ADMIN_TIMEOUT,
            body_timeout=_ADMIN_TIMEOUT,
            max_header_size=_ADMIN_BYTES,
            max_body_size=_ADMIN_BYTES,
        )
        server.add_sockets(self._sockets)
        self._context.row.status.ready = True
        working = [asyncio.create_task(self._refresh())]
        if self._ids is not None:
            working.append(asyncio.create_task(self._ids.run()))
        if self._renewals is not None:
            working.append(asyncio.create_task(self._renewals.run()))
        await asyncio.wait((*working, asyncio.create_task(ending.wait())), return_when=asyncio.FIRST_COMPLETED)
        if self._renewals is not None:
            await self._renewals.finish()
        for task in working:
            if task.done():
                task.result()  # it ends only by a bug, which is raised here
            task.cancel()
        await asyncio.wait(working)
        self._api_process.close()

    def _make_id_service(self) -> IdService:
        deployment, folder = self._deployment, ids_folder(self._deployment.settings)
        credentials, keep = deployment.api_credentials, deployment.settings.helpscout.keep
        if credentials is None:
            return IdService(folder, time.time, keep=keep, thread=self._thread)
        account = ""
        api = InboxApi(
            credentials,
            self._api_process.exchange,
            timer=time.monotonic,
            clock=time.time,
            random=random.random,
            report=_report_api,
        )
        if deployment.settings.helpscout.fill:
            account = hashlib.blake2b(credentials.api_id, key=deployment.log_key, digest_size=8).hexdigest()
        return IdService(folder, time.time, api, account, keep, thread=self._thread)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(BEAT_EVERY, self._tick, loop)
        self._context.row.status.beat()
        self._context.writer.flush()  # what other threads have logged

    def _record_history(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(history.EVERY, self._record_history, loop)
        self._history.record(time.time(), self._deployment.counters.totals())

    # The data

    async def _refresh(self) -> None:
        """Import whenever the source has changed and is stable, for ever."""
        snapshot = self._deployment.snapshot_metadata()
        spec = self._deployment.import_spec
        changes = ChangeDetector(snapshot.fingerprint if snapshot else "")
        stability = StabilityCheck(spec, WriteMonitor(spec.files), time.monotonic, time.time)
        refresh = refresh_of(self._deployment.settings, spec)
        fetches = FetchSchedule(refresh, random.random)
        if snapshot is not None:
            self._warn_of_missing_columns()
            self._report_initial_import()
        while True:
            if self._is_state_usable():
                if spec.is_fetched:
                    await self._poll_servers(fetches)
                else:
                    await self._poll_source(changes, stability)
            self._report_initial_import()
            pause = fetches.pause if spec.is_fetched else refresh
            if self._fetch is not None:
                upcoming = None if fetches.is_refused else time.time() + pause
                self._fetch = msgspec.structs.replace(self._fetch, next=upcoming)
            await self._wait_for_next_poll(changes, stability, pause)

    async def _wait_for_next_poll(self, changes: ChangeDetector, stability: StabilityCheck, every: float) -> None:
        """Wait for `every` seconds; less if something is awaited, or the snapshot was removed."""
        loop = asyncio.get_running_loop()
        end, had_snapshot = loop.time() + every, self._deployment.snapshot_metadata() is not None
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(_SHORT_POLL, left))
            stability.poll()
            if changes.pending or not self._is_state_usable():
                return
            if had_snapshot and self._deployment.snapshot_metadata() is None:
                return

    def _is_state_usable(self) -> bool:
        """Restore what is missing in the state folder; return whether it can be used, and log when that changes."""
        settings, before = self._deployment.settings, self._state_fault
        try:
            prepare_state(settings, self._deployment.log_key)
            self._state_fault = state_fault(settings)
        except StartError as fault:
            self._state_fault = str(fault)
        if self._state_fault and self._state_fault != before:
            log.error("state_unusable", why=self._state_fault)
        elif before and not self._state_fault:
            log.info("state_usable")
        return not self._state_fault

    async def _poll_servers(self, fetches: FetchSchedule) -> None:
        """Fetch and import if it is time to: a server's rows may have changed at any time."""
        self._check_clock(self._deployment.snapshot_metadata())
        login = self._deployment.import_spec.login()
        if not fetches.is_due(login):
            return
        began = time.monotonic()
        result = await self._import(fetches.known(began))
        if isinstance(result, ImportFailed):
            fetches.record(login, failed=True, login_refused=result.login_refused)
            self._fetch = msgspec.structs.replace(self._fetch or FetchInfo(), error=result.sentence)
            return
        fetches.record(login, failed=False, login_refused=False)
        found = result.report.fetch if isinstance(result, ImportDone) else result.fetch
        if found is not None:
            fetches.record_found(found, began)
            self._fetch = FetchInfo(at=time.time(), seconds=found.seconds, unchanged=not found.whole)

    async def _poll_source(self, changes: ChangeDetector, stability: StabilityCheck) -> None:
        """Import if it is time to."""
        snapshot = self._deployment.snapshot_metadata()
        self._check_clock(snapshot)
        imported = snapshot.fingerprint if snapshot else ""
        changes.set_current(imported)
        seen = fingerprint(self._deployment.import_spec)
        is_stable = stability.is_stable(seen, snapshot)
        if seen == imported:  # perhaps by `sidebard import`
            changes.finished(seen)
            stability.reset()
            if self._last_import is not None and self._last_import.refused:
                self._last_import = None
        elif changes.due(seen, stable=is_stable):
            result = await self._import()
            changes.finished(seen, retry=isinstance(result, ImportFailed) and result.transient)
        if stability.warning and stability.warning != self._stability_warning:
            log.warning("import_waits", why=stability.warning)
        self._stability_warning = stability.warning

    def _check_clock(self, snapshot: SnapshotMetadata | None) -> None:
        """Warn once if the data was read in the future."""
        ahead = snapshot.as_of - time.time() if snapshot is not None else 0.0
        if ahead > _CLOCK_TOLERANCE and not self._warned_of_clock:
            log.warning("clock_set_back", why=_clock_sentence(ahead))
        self._warned_of_clock = ahead > _CLOCK_TOLERANCE

    def _report_initial_import(self) -> None:
        if not self._context.row.status.initial_import_done:
            self._context.row.status.initial_import_done = True
            self._context.wake()

    async def _import(self, known: Known = MappingProxyType({})) -> ImportResult:
        """Import in a child process; `known` is what was fetched before."""
        result = await self._run_import(known)
        now = time.time()
        if isinstance(result, ImportUnchanged):
            if self._last_import is not None and self._last_import.refused:
                self._last_import = None
            log.debug("unchanged", fetch_seconds=result.fetch.seconds)
            return result
        if isinstance(result, ImportDone):
            report = result.report
            self._last_import = Import(
                at=now,
                rows=report.rows,
                bad_rows=report.bad_rows,
                bad=tuple(map(str, report.bad)),
                without_address=report.without_address,
                shared_addresses=report.shared_addresses,
                seconds=report.seconds,
            )
            fetched = {"fetch_seconds": report.fetch.seconds} if report.fetch is not None else {}
            log.info("import", rows=report.rows, bad_rows=report.bad_rows, seconds=report.seconds, **fetched)
            self._warn_of_missing_columns()
            return result
        if self._last_import is None or result.sentence != self._last_import.refused:  # logged once, not at every poll
            log.error("import_refused", why=result.sentence, bad=[str(row) for row in result.bad])
        self._last_import = Import(at=now, refused=result.sentence, bad=tuple(map(str, result.bad)))
        return result

    async def _run_import(self, known: Known) -> ImportResult:
        try:
            async with self._thread.still():
                child = ImportChild(self._deployment.import_spec, self._folder, known)
        except ImportRefused as refused:
            return ImportFailed(str(refused), transient=refused.transient)
        try:
            await ends_within(child, MAX_SECONDS)
        finally:
            result = child.result()
        return result

    def _warn_of_missing_columns(self) -> None:
        """Log the columns that the config names and the data does not have."""
        snapshot = self._deployment.snapshot_metadata()
        if snapshot is not None and (faults := column_faults(self._deployment.settings, snapshot)):
            log.warning("column_missing", why=[str(fault) for fault in faults])

    # The admin pages

    def health(self) -> Health:
        """Return the health as it is now."""
        supervisor = self._context.supervisor.read()
        totals = self._deployment.counters.totals()
        workers = Workers(
            wanted=supervisor.workers,
            ready=totals.ready,
            restarts=supervisor.worker_restarts,
            generations=totals.generations,
        )
        now = time.time()
        data, ahead = self._snapshot_info(now)
        clock_warning = _clock_sentence(ahead) if ahead > _CLOCK_TOLERANCE else ""
        troubles = [self._state_fault, self._stability_warning, clock_warning]
        return examine(
            now,
            supervisor,
            workers,
            data,
            self._last_import,
            self._deployment.settings.customers.max_age,
            totals.refusals,
            totals.trail_error,
            [trouble for trouble in troubles if trouble],
            self._ids.info if self._ids is not None else None,
            self._fetch,
            self._renewals.info(now) if self._renewals is not None else (),
            self._renewals.warnings if self._renewals is not None else (),
        )

    def metrics(self) -> bytes:
        """Return the text of /metrics."""
        from appliance.observe import exposition  # 10 ms and 1 MB: in this process alone, once it is scraped

        return exposition.expose(self._deployment.counters.totals(), self.health(), self._context.supervisor.read())

    def status(self) -> bytes:
        """Return the status page."""
        now = time.time()
        return status_page.render(
            status_page.PageData(
                now=now,
                health=self.health(),
                supervisor=self._context.supervisor.read(),
                totals=self._deployment.counters.totals(),
                minutes=self._history.minutes(now),
                recent=self._history.recent(),
            )
        )

    def _snapshot_info(self, now: float) -> tuple[SnapshotInfo | None, float]:
        """Return what is known of the newest snapshot, and by how many seconds it is from the future."""
        newest = open_newest(self._folder, self._deployment.import_spec.digest())
        if newest is None:
            return None, 0.0
        newest.close()
        as_of = self._since.at(newest.as_of, now)
        data = SnapshotInfo(
            generation=newest.generation,
            rows=newest.metadata.rows,
            addresses=newest.metadata.addresses,
            as_of=as_of,
            age_seconds=round(now - as_of, 3),
        )
        return data, newest.as_of - now


def _report_api(trouble: Trouble | None, pause: float) -> None:
    if trouble is None:
        log.info("inbox_api_works")
    else:
        log.warning("inbox_api_failed", why=trouble.sentence, retry_seconds=round(pause))


def _clock_sentence(ahead: float) -> str:
    return (
        f"by the system clock the customers were read {ahead / 60:,.0f} minutes in the future: it was set back, or was"
        " wrong at that time; set it (timedatectl). If it is right now, run `sidebard import`"
    )
