"""The supervisor: rolls out deployments, keeps the children running, and acts on signals.

It has no event loop and no threads, so that it can fork at any time. It waits for signals, which are blocked, and polls
everything at least every TICK. A child with something to report writes it into its row of the shared memory and sends
SIGUSR1.

A deployment is one state of the config, its secrets, cards and certificates, checked as a whole. There are at most two:
the `current` one, which serves, and the `next` one, which is being rolled out:

    state          current   next
    STARTING       none      a         nothing is served yet
    SERVING        a         none
    ROLLING OUT    a         b         the steward of b imports, if there is no snapshot for b; then workers of b
                                       replace those of a, one by one
    STOPPING       any       any       the children finish their requests and end; the process ends with the last one

    event                              STARTING              SERVING               ROLLING OUT           STOPPING
    there is a snapshot for next       start its workers     -                     start its workers     -
    the first import for next failed   start its workers     -                     roll back: SERVING    -
    all workers of next are ready      commit: SERVING       -                     commit: SERVING       -
    its workers exit at startup        StartError, exit 3    -                     roll back: SERVING    -
    SIGHUP                             later, in SERVING     ROLLING OUT if the    later, in SERVING     -
    certificate files changed          later, in SERVING       new state is valid  later, in SERVING     -
    SIGTERM, SIGINT                    STOPPING              STOPPING              STOPPING              end at once
    the terminal closes                as SIGTERM, or under nohup only logged (terminal.py)
    a child exits, is stuck, or cannot be forked    see fleet.py

A rollback, or a new state that is not valid, is a failed reload: it is logged, it is in /healthz until a reload works,
and systemd is told. The service goes on with `current`. A certificate that cannot be used is tried again at each poll.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection
from typing import Final

from appliance.bootstrap import certificates
from appliance.bootstrap.deployment import Deployment, with_new_certificate
from appliance.bootstrap.sockets import Sockets, format_address
from appliance.config.reader import ConfigError
from appliance.errors import StartError
from appliance.observe.health import SupervisorStatus
from appliance.observe.logs import log
from appliance.observe.shared_value import SharedValue
from appliance.observe.writer import Writer
from appliance.service.change_detector import ChangeDetector
from appliance.service.fleet import STEWARD, WORKER, Fleet
from appliance.system.frozen import UnpackedWatch
from appliance.system.idle_memory import release_code
from appliance.system.raw_output import RawOutput
from appliance.system.systemd import Notifier
from appliance.system.terminal import Action, Terminal

TICK: Final = 0.5
_SAME_PRESS: Final = 0.5
"""Two signals to stop within so many seconds count as one: a terminal sends Ctrl-C to this process and to the packaged
executable's bootloader, which forwards it."""

_EXTEND: Final = 30.0
_MAX_FAULT: Final = 2000  # characters of a fault in the shared status; a config can have a thousand faults
_CHILDREN: Final = frozenset({signal.SIGCHLD, signal.SIGUSR1})
_STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class Supervisor:
    """The supervisor's loop, from the first deployment to the end of the last child."""

    def __init__(
        self,
        first: Deployment,
        reload: Callable[[Deployment], Deployment],
        fleet: Fleet,
        sockets: Sockets,
        status: SharedValue[SupervisorStatus],
        signals: Collection[signal.Signals],
        *,
        notifier: Notifier,
        terminal: Terminal,
        writer: Writer,
        raw: RawOutput,
        unpacked: UnpackedWatch,
        timer: Callable[[], float],
    ) -> None:
        """`reload` makes the next deployment of the config as it is now; it raises ConfigError, StartError, OSError.

        `signals` are blocked and waited for. `status` is what the steward shows of the supervisor. `writer` is the
        log's; `raw` reads what the processes write to stdout and stderr besides it. `unpacked` watches the folder of a
        packaged executable. `timer` returns seconds.
        """
        self._current: Deployment | None = None
        self._next: Deployment | None = first
        self._load = reload
        self._fleet = fleet
        self._sockets = sockets
        self._status = status
        self._signals = signals
        self._notifier = notifier
        self._terminal = terminal
        self._writer = writer
        self._raw = raw
        self._unpacked = unpacked
        self._timer = timer
        self._waiting_for_import = False
        self._reload_requested = False
        self._certificate = ChangeDetector(first.certificate_fingerprint)
        self._reload_fault = self._certificate_fault = ""
        self._stop_requested: float | None = None
        self._notified = timer()
        self._prepare(first)

    def run(self) -> None:
        """Serve until a signal asks to stop. Raises StartError if the first workers exit at startup."""
        self._fleet.reconcile()  # now, not after the first wait: that would be half of the startup time
        while self._stop_requested is None or not self._fleet.is_empty:
            self._run_once()
        self._raw.read()
        log.info("stopped")

    def _run_once(self) -> None:
        """Wait for a signal or TICK, then do everything that can be done now."""
        self._receive(signal.sigtimedwait(self._signals, TICK))
        self._raw.read()
        self._fleet.reconcile()
        if self._stop_requested is None:
            self._advance()
            if self._next is None:
                self._check_for_changes()
            self._fleet.reconcile()
        self._write_status()
        self._unpacked.look()
        self._notify_systemd()
        self._writer.flush()

    def _receive(self, received: signal.struct_siginfo | None) -> None:
        if received is not None and received.si_signo in _STOP:
            self._stop()
            return
        if received is not None and received.si_signo == signal.SIGHUP:
            action: Action | None = self._terminal.on_sighup(received.si_code)
        else:
            action = self._terminal.poll()
        if action is Action.RELOAD:
            self._reload_requested = True
        elif action is Action.STOP:
            self._stop()
        elif action is Action.STAY:
            log.info("terminal_gone")

    def _stop(self) -> None:
        now = self._timer()
        if self._stop_requested is None:
            self._notifier.notify(STOPPING=1, STATUS="finishing the running requests")
            log.info("stopping", connections=self._current.counters.totals().open if self._current else 0)
            self._sockets.close()
        elif now - self._stop_requested < _SAME_PRESS:
            return
        self._stop_requested = now
        self._fleet.end()

    # From one deployment to the next

    def _prepare(self, deployment: Deployment) -> None:
        """Make this deployment the next: its steward starts, and its workers once there is a snapshot for it."""
        self._next = deployment
        self._fleet.prepare(deployment)
        self._waiting_for_import = deployment.snapshot_metadata() is None
        if not self._waiting_for_import:
            self._fleet.roll_out(deployment)

    def _advance(self) -> None:
        """Take the next step of a rollout: start the workers, commit, or roll back."""
        deployment, current, fleet = self._next, self._current, self._fleet
        if deployment is None:
            return
        if self._waiting_for_import and (fleet.initial_import_done or fleet.steward_failed):
            if current is not None and deployment.snapshot_metadata() is None:
                self._roll_back(current, "importing its customers failed; see import_refused")
                return
            self._waiting_for_import = False
            fleet.roll_out(deployment)
        if fleet.failed_startup is deployment:
            if current is None:
                raise StartError("a worker exited during startup; see the lines above")
            self._roll_back(current, "its workers exit during startup; see the lines above")
        elif not self._waiting_for_import and fleet.is_complete:
            self._commit(deployment)

    def _status_page(self) -> dict[str, str]:
        """Return what a person may open, for the log; nothing if there is only a Unix socket, or none."""
        pages = [f"http://{address}/" for each in self._sockets.admin if "/" not in (address := format_address(each))]
        return {"status_page": pages[0]} if pages else {}

    def _commit(self, deployment: Deployment) -> None:
        is_first = self._current is None
        self._current, self._next = deployment, None
        addresses = [format_address(each) for each in self._sockets.public]
        snapshot = deployment.snapshot_metadata()
        log.info(
            "serving" if is_first else "reloaded",
            addresses=addresses,
            tls=deployment.tls_context is not None,
            workers=deployment.workers,
            rows=snapshot.rows if snapshot else None,
            **self._status_page(),
        )
        customers = snapshot.rows if snapshot else "no"
        self._notify_ready(f"{deployment.workers} workers on {', '.join(addresses)}, {customers} customers")
        release_code()  # which has read certificates and cards, and is not used again before the next reload

    def _roll_back(self, current: Deployment, why: str) -> None:
        self._next = None
        self._fleet.roll_back(current)
        self._report_failed_reload(why)

    def _reload(self, current: Deployment) -> None:
        """Read the config again and prepare what it says; if it is not valid, nothing changes."""
        self._notifier.notify_reloading()
        try:
            deployment = self._load(current)
        except (ConfigError, StartError, OSError) as error:
            self._report_failed_reload(str(error))
            return
        self._reload_fault = self._certificate_fault = ""
        self._prepare(deployment)

    def _report_failed_reload(self, why: str) -> None:
        self._reload_fault = why
        log.error("reload_refused", why=why)
        self._notify_ready(f"still serving with the previous config; reload failed: {why.splitlines()[0]}")

    def _check_for_changes(self) -> None:
        """Reload if that was requested; else use new certificate files, once they have stopped changing."""
        current = self._current
        if current is None:
            return
        if self._reload_requested:
            self._reload_requested = False
            self._reload(current)
            return
        seen = certificates.fingerprint(current.settings)
        if seen == current.certificate_fingerprint:  # unchanged, or put back; without TLS there are no files
            self._certificate.finished(seen)
            self._certificate_fault = ""
        elif self._certificate.due(seen):
            self._use_new_certificate(current, seen)

    def _use_new_certificate(self, current: Deployment, seen: str) -> None:
        try:
            deployment = with_new_certificate(current)
        except StartError as error:
            # The same files may be usable at the next poll: readable by then, or with memory left.
            self._certificate.finished(seen, retry=True)
            if str(error) != self._certificate_fault:
                self._certificate_fault = str(error)
                log.error("certificate_refused", why=str(error))
            return
        self._certificate.finished(seen)
        self._certificate_fault = ""
        log.info("certificate_changed")
        self._prepare(deployment)

    # Reporting

    def _write_status(self) -> None:
        deployment = self._current or self._next
        self._status.write(
            SupervisorStatus(
                workers=deployment.workers if deployment else 0,
                worker_restarts=self._fleet.restarts[WORKER],
                steward_restarts=self._fleet.restarts[STEWARD],
                reload_fault=self._reload_fault[:_MAX_FAULT],
                certificate_fault=self._certificate_fault[:_MAX_FAULT],
                start_fault=self._fleet.start_fault,
                certificates=deployment.certificates if deployment else (),
            )
        )

    def _notify_ready(self, status: str) -> None:
        self._notifier.notify(READY=1, STATUS=status)

    def _notify_systemd(self) -> None:
        """Keep systemd's watchdog and its start timeout from ending a service that makes progress."""
        now = self._timer()
        if now - self._notified < min(self._notifier.watchdog or _EXTEND, _EXTEND) / 3:
            return
        self._notified = now
        if self._notifier.watchdog is not None:
            self._notifier.notify(WATCHDOG=1)
        if self._waiting_for_import and self._next is not None:
            self._notifier.notify(EXTEND_TIMEOUT_USEC=int(_EXTEND * 1e6), STATUS="importing the customers")


def block_signals() -> frozenset[signal.Signals]:
    """Block the signals that a supervisor waits for, and return them.

    It waits also for those that were ignored at the start: SIGHUP under nohup, SIGINT of a script's background job.
    """
    signals = _CHILDREN | _STOP | {signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if the parent had ignored it, no exit would be reported
    return signals
