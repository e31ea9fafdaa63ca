"""The steward: keeps the data fresh and answers the admin pages, away from the processes that serve."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final

from appliance.customers import guards
from appliance.customers.importer import open_newest
from appliance.observe import admin, exposition, history, status
from appliance.observe.health import Data, Health, Import, Workers, examine
from appliance.observe.logs import log
from appliance.service.columns import column_faults
from appliance.service.heartbeat import BEAT_EVERY
from appliance.service.importing import MAX_SECONDS, Done, ImportChild
from appliance.service.refresh import Watch
from appliance.service.wiring import snapshot_folder
from appliance.service.worker import Post

_SETTLE: Final = 1.0
"""Seconds between the two looks at a source that has changed."""

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

    def run(self) -> None:
        """Work until SIGTERM."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ending.set)
        self._post.writer.schedule_by(loop.call_later)
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
        self._post.row.ready = True
        refreshing = asyncio.create_task(self._refresh())
        await asyncio.wait((refreshing, asyncio.create_task(ending.wait())), return_when=asyncio.FIRST_COMPLETED)
        if refreshing.done():
            refreshing.result()  # it never ends but by a bug, which is raised here
        refreshing.cancel()
        await asyncio.wait((refreshing,))

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(BEAT_EVERY, self._tick, loop)
        self._post.row.beat()
        self._post.writer.flush()  # what another thread has said

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """See what the workers have counted since the last time."""
        loop.call_later(history.EVERY, self._look, loop)
        self._history.take(time.time(), self._setup.table.totals())

    # The data

    async def _refresh(self) -> None:
        """Import whenever the source has changed and come to rest, for ever."""
        watch = Watch(self._imported())
        every = self._setup.settings.customers.refresh
        if self._imported():
            self._say_what_is_missing()
            self._settle()
        while True:
            signature = guards.signature(self._setup.plan)
            if signature == self._imported():  # also by hand, with `sidebard import`
                watch.ended(signature)
                if self._last_import is not None and self._last_import.refused:
                    self._last_import = None
            elif watch.due(signature):
                watch.ended(signature, again=await self._import())
            self._settle()
            await asyncio.sleep(min(_SETTLE, every) if watch.settling else every)

    def _settle(self) -> None:
        if not self._post.row.settled:
            self._post.row.settled = True
            self._post.wake()

    def _imported(self) -> str:
        """Give the signature of what the newest snapshot was made of, "" for none."""
        facts = self._setup.data()
        return facts.signature if facts else ""

    async def _import(self) -> bool:
        """Import in a child process; say whether the same source may be good the next time it is tried."""
        child = ImportChild(self._setup.plan, self._folder)
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

    def _say_what_is_missing(self) -> None:
        """Warn of columns that a card is to show and the data has not."""
        facts = self._setup.data()
        if facts is not None and (faults := column_faults(self._setup.settings, facts)):
            log.warning("column_missing", why=[str(fault) for fault in faults])

    # The admin pages

    def health(self) -> Health:
        """Give the health now."""
        situation = self._post.situation.read()
        totals = self._setup.table.totals()
        workers = Workers(
            wanted=situation.workers,
            ready=totals.ready,
            restarts=situation.worker_restarts,
            generations=totals.generations,
        )
        max_age = self._setup.settings.customers.max_age
        return examine(
            time.time(),
            situation,
            workers,
            self._data(),
            self._last_import,
            max_age,
            totals.refusals,
            totals.trail_fault,
        )

    def metrics(self) -> bytes:
        """Give the text of /metrics now."""
        return exposition.expose(self._setup.table.totals(), self.health(), self._post.situation.read())

    def status(self) -> bytes:
        """Give the status page now."""
        now = time.time()
        return status.render(
            status.Status(
                now=now,
                health=self.health(),
                situation=self._post.situation.read(),
                totals=self._setup.table.totals(),
                minutes=self._history.minutes(now),
                recent=self._history.recent(),
            )
        )

    def _data(self) -> Data | None:
        newest = open_newest(self._folder, self._setup.plan)
        if newest is None:
            return None
        newest.close()
        facts = newest.facts
        return Data(
            generation=newest.generation,
            rows=facts.rows,
            addresses=facts.addresses,
            as_of=facts.as_of,
            age_seconds=round(max(0.0, time.time() - facts.as_of), 3),
        )
