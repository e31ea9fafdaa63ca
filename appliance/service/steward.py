"""The steward: keeps the data fresh and answers the admin pages, away from the processes that serve."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final

from appliance.bootstrap.column_faults import column_faults
from appliance.bootstrap.state_folder import prepare_state, snapshot_folder, state_fault
from appliance.customers.since import Since
from appliance.customers.snapshot import SnapshotMetadata
from appliance.customers.snapshot_store import open_newest
from appliance.errors import StartError
from appliance.ingest.fingerprint import fingerprint
from appliance.ingest.spec import ImportRefused
from appliance.observe import admin, exposition, history, status_page
from appliance.observe.health import Health, Import, SnapshotInfo, Workers, examine
from appliance.observe.logs import log
from appliance.service.heartbeat import BEAT_EVERY
from appliance.service.importing import MAX_SECONDS, Done, Failed, ImportChild, Result
from appliance.service.refresh import Watch
from appliance.service.rest import Rest
from appliance.service.worker import Post
from appliance.system.writes import Writes

_SETTLE: Final = 1.0
"""Seconds between two looks at a source that has changed, and between two at the state folder."""

_AHEAD: Final = 60.0
"""Seconds that data may come from the future: a clock is set back by less when it is kept right."""

_ADMIN_TIMEOUT: Final = 10.0
_ADMIN_BYTES: Final = 16 * 1024


class Steward:
    """The steward process."""

    def __init__(self, post: Post, sockets: Sequence[socket.socket]) -> None:
        """Answer the admin pages on `sockets`, which listen already."""
        self._post = post
        self._sockets = sockets
        self._setup = post.setup
        self._folder = snapshot_folder(post.setup.settings)
        self._last_import: Import | None = None
        self._history = history.History()
        self._since = Since()
        self._state_fault = self._rest_fault = ""
        self._told_of_clock = False

    def run(self) -> None:
        """Work until SIGTERM."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ending.set)
        self._tick(loop)
        self._look(loop)
        server = admin.AdminServer(
            admin.make_application(self.health, self.metrics, self.status),
            idle_connection_timeout=_ADMIN_TIMEOUT,
            body_timeout=_ADMIN_TIMEOUT,
            max_header_size=_ADMIN_BYTES,
            max_body_size=_ADMIN_BYTES,
        )
        server.add_sockets(self._sockets)
        self._post.row.status.ready = True
        refreshing = asyncio.create_task(self._refresh())
        await asyncio.wait((refreshing, asyncio.create_task(ending.wait())), return_when=asyncio.FIRST_COMPLETED)
        if refreshing.done():
            refreshing.result()  # it never ends but by a bug, which is raised here
        refreshing.cancel()
        await asyncio.wait((refreshing,))

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(BEAT_EVERY, self._tick, loop)
        self._post.row.status.beat()
        self._post.writer.flush()  # what another thread has said

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """See what the workers have counted since the last time."""
        loop.call_later(history.EVERY, self._look, loop)
        self._history.record(time.time(), self._setup.counters.totals())

    # The data

    async def _refresh(self) -> None:
        """Import whenever the source has changed and come to rest, for ever."""
        facts = self._setup.data()
        watch = Watch(facts.fingerprint if facts else "")
        rest = Rest(self._setup.plan, Writes(self._setup.plan.files), time.monotonic, time.time)
        every = self._setup.settings.customers.refresh
        if facts is not None:
            self._say_what_is_missing()
            self._settle()
        while True:
            if self._state_is_usable():
                await self._look_at_source(watch, rest)
            self._settle()
            await self._wait_for_next_look(watch, rest, every)

    async def _wait_for_next_look(self, watch: Watch, rest: Rest, every: float) -> None:
        """Wait for `every` seconds; less if something is being waited for, or what was imported has gone."""
        loop = asyncio.get_running_loop()
        end, had_data = loop.time() + every, self._setup.data() is not None
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(_SETTLE, left))
            rest.look()
            if watch.settling or not self._state_is_usable() or (had_data and self._setup.data() is None):
                return

    def _state_is_usable(self) -> bool:
        """Put back what is missing in the state folder, and say whether the folder can be used, when that changes."""
        settings, before = self._setup.settings, self._state_fault
        try:
            prepare_state(settings, self._setup.log_key)
            self._state_fault = state_fault(settings)
        except StartError as fault:
            self._state_fault = str(fault)
        if self._state_fault and self._state_fault != before:
            log.error("state_unusable", why=self._state_fault)
        elif before and not self._state_fault:
            log.info("state_usable")
        return not self._state_fault

    async def _look_at_source(self, watch: Watch, rest: Rest) -> None:
        """Import if it is time to."""
        facts = self._setup.data()
        self._look_at_clock(facts)
        imported = facts.fingerprint if facts else ""
        watch.has(imported)
        signature = fingerprint(self._setup.plan)
        is_at_rest = rest.enough(signature, facts)
        if signature == imported:  # also by hand, with `sidebard import`
            watch.ended(signature)
            rest.over()
            if self._last_import is not None and self._last_import.refused:
                self._last_import = None
        elif watch.due(signature, rested=is_at_rest):
            watch.ended(signature, again=await self._import())
        if rest.fault and rest.fault != self._rest_fault:
            log.warning("import_waits", why=rest.fault)
        self._rest_fault = rest.fault

    def _look_at_clock(self, facts: SnapshotMetadata | None) -> None:
        """Warn, once, of data that was read in the future."""
        ahead = facts.as_of - time.time() if facts is not None else 0.0
        if ahead > _AHEAD and not self._told_of_clock:
            log.warning("clock_set_back", why=_clock_sentence(ahead))
        self._told_of_clock = ahead > _AHEAD

    def _settle(self) -> None:
        if not self._post.row.status.initial_import_done:
            self._post.row.status.initial_import_done = True
            self._post.wake()

    async def _import(self) -> bool:
        """Import in a child process; say whether the same source may be good the next time it is tried."""
        result = await self._result_of_import()
        now = time.time()
        if isinstance(result, Done):
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
            log.info("import", rows=report.rows, bad_rows=report.bad_rows, seconds=report.seconds)
            self._say_what_is_missing()
            return False
        if self._last_import is None or result.sentence != self._last_import.refused:  # said once, not at every poll
            log.error("import_refused", why=result.sentence, bad=[str(row) for row in result.bad])
        self._last_import = Import(at=now, refused=result.sentence, bad=tuple(map(str, result.bad)))
        return result.transient

    async def _result_of_import(self) -> Result:
        try:
            child = ImportChild(self._setup.plan, self._folder)
        except ImportRefused as refused:
            return Failed(str(refused), transient=refused.transient)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(child.descriptor, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), MAX_SECONDS)
        except TimeoutError:
            child.kill()
        except asyncio.CancelledError:
            child.kill()
            raise
        finally:
            loop.remove_reader(child.descriptor)
            result = child.result()
        return result

    def _say_what_is_missing(self) -> None:
        """Warn of columns that a card is to show and the data has not."""
        facts = self._setup.data()
        if facts is not None and (faults := column_faults(self._setup.settings, facts)):
            log.warning("column_missing", why=[str(fault) for fault in faults])

    # The admin pages

    def health(self) -> Health:
        """Give the health now."""
        supervisor = self._post.supervisor.read()
        totals = self._setup.counters.totals()
        workers = Workers(
            wanted=supervisor.workers,
            ready=totals.ready,
            restarts=supervisor.worker_restarts,
            generations=totals.generations,
        )
        now = time.time()
        data, ahead = self._data(now)
        troubles = [self._state_fault, self._rest_fault, _clock_sentence(ahead) if ahead > _AHEAD else ""]
        return examine(
            now,
            supervisor,
            workers,
            data,
            self._last_import,
            self._setup.settings.customers.max_age,
            totals.refusals,
            totals.trail_error,
            [trouble for trouble in troubles if trouble],
        )

    def metrics(self) -> bytes:
        """Give the text of /metrics now."""
        return exposition.expose(self._setup.counters.totals(), self.health(), self._post.supervisor.read())

    def status(self) -> bytes:
        """Give the status page now."""
        now = time.time()
        return status_page.render(
            status_page.PageData(
                now=now,
                health=self.health(),
                supervisor=self._post.supervisor.read(),
                totals=self._setup.counters.totals(),
                minutes=self._history.minutes(now),
                recent=self._history.recent(),
            )
        )

    def _data(self, now: float) -> tuple[SnapshotInfo | None, float]:
        """Give what is known of the newest snapshot, and by how many seconds it comes from the future."""
        newest = open_newest(self._folder, self._setup.plan.digest())
        if newest is None:
            return None, 0.0
        newest.close()
        facts = newest.facts
        as_of = self._since.at(facts.as_of, now)
        data = SnapshotInfo(
            generation=newest.generation,
            rows=facts.rows,
            addresses=facts.addresses,
            as_of=as_of,
            age_seconds=round(now - as_of, 3),
        )
        return data, facts.as_of - now


def _clock_sentence(ahead: float) -> str:
    return (
        f"by the clock of this machine the customers were read {ahead / 60:,.0f} minutes in the future, so it was set"
        " back, or was wrong then; set it right (timedatectl). If it is right, `sidebard import` ends this"
    )
