"""The supervisor: makes what the children share, keeps them running, and answers signals.

It has no event loop and no threads, so that it can fork at any time; it waits for signals, which it has blocked, and
looks around at least every TICK. A child that has something to say writes it into its row and sends SIGUSR1.
"""

from __future__ import annotations

import gc
import os
import pwd
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from appliance.bootstrap import certificates
from appliance.bootstrap.deployment import Setup, make_setup, with_new_certificate
from appliance.bootstrap.sockets import address_of, open_sockets
from appliance.bootstrap.state_folder import give
from appliance.config.schema import ConfigError, Settings
from appliance.errors import StartError
from appliance.observe.health import SupervisorStatus
from appliance.observe.logs import log
from appliance.observe.shared_counters import ChildRow
from appliance.observe.shared_value import SharedValue
from appliance.observe.writer import Writer
from appliance.service import heartbeat
from appliance.service.fleet import STEWARD, WORKER, Fleet
from appliance.service.refresh import Watch
from appliance.service.steward import Steward
from appliance.service.worker import Post, Worker
from appliance.system.fork import fork
from appliance.system.frozen import UnpackedWatch
from appliance.system.privileges import become, entry_of, lock_down
from appliance.system.raw_output import RawOutput
from appliance.system.systemd import Notifier
from appliance.system.terminal import Meaning, Terminal, has_terminal

TICK: Final = 0.5
_ONE_PRESS: Final = 0.5
"""Two signals to end within so many seconds are one: a packaged file's bootloader forwards what it gets from a
terminal, which has sent it to this process as well."""

_EXTEND: Final = 30.0
_TOLD: Final = 2000  # characters of a fault that fit the note; a config can have a thousand faults
_CHILDREN: Final = frozenset({signal.SIGCHLD, signal.SIGUSR1})
_END: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class Supervisor:
    """The service, from its start to its end."""

    def __init__(
        self,
        read: Callable[[], Settings],
        environ: Mapping[str, str],
        writer: Writer,
        raw: RawOutput,
        check_start: Callable[[Settings, pwd.struct_passwd | None], None],
        *,
        terminal: bool,
    ) -> None:
        """`read` gives the settings as they are now, or raises ConfigError; `writer` and `terminal` are the log's.

        `raw` is what the processes write to stdout and stderr besides the log. `check_start` runs the checks of a start
        and logs what they find; it gets the settings, and the user that this process is going to become.
        """
        self._read = read
        self._environ = environ
        self._writer = writer
        self._raw = raw
        self._check_start = check_start
        self._terminal = terminal
        self._timer: Callable[[], float] = time.monotonic
        nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._terminal_end = Terminal(self._timer, nohup=nohup, is_there=has_terminal)
        self._unpacked = UnpackedWatch(self._timer)
        self._notifier = Notifier(environ)
        self._told = self._timer()
        self._setup: Setup | None = None
        self._next: Setup | None = None
        self._waits_for_data = False
        self._reload_wanted = False
        self._reload_fault = self._certificate_fault = ""
        self._end_asked: float | None = None
        self._status = SharedValue(SupervisorStatus())
        self._fleet = Fleet(self._start_child, self._timer, heartbeat.STUCK_AFTER)

    def run(self) -> None:
        """Serve until a signal asks for the end. Raises ConfigError and StartError if it does not get to serve."""
        settings = self._read()
        user = _user_to_become(settings, self._environ)
        self._next = make_setup(settings, self._environ, owner=user)
        self._certificate = Watch(self._next.certificate)
        self._sockets = open_sockets(settings, self._environ)
        self._check_start(settings, user)
        # Now that the sockets are open and the secrets are read.
        if user is not None:
            become(user)
        else:
            lock_down()
        self._myself = os.pidfd_open(os.getpid())
        self._signals = block_signals()
        gc.freeze()  # what is here is every child's, and a collection would copy its pages
        try:
            self._begin(self._next)
            self._fleet.turn()  # now, not after the first wait: it is half of the start's time
            while not (self._end_asked is not None and self._fleet.empty):
                self._turn()
            self._raw.read()
            log.info("stopped")
        finally:
            self._fleet.kill()
            self._sockets.close()
            os.close(self._myself)
            for unix in (settings.admin.listen, *settings.server.listen):
                if unix is not None and unix.unix is not None and "LISTEN_PID" not in self._environ:
                    unix.unix.unlink(missing_ok=True)

    def _turn(self) -> None:
        """Wait for a signal or a tick, and see to everything once."""
        received = signal.sigtimedwait(self._signals, TICK)
        number = received.si_signo if received else None
        if number in _END:
            self._end()
        elif received is not None and number == signal.SIGHUP:
            self._obey(self._terminal_end.hup(received.si_code))
        else:
            self._obey(self._terminal_end.look())
        self._raw.read()  # first: the last words of a process come before the line that it has died
        self._fleet.turn()
        if self._end_asked is None:
            self._advance()
            if self._next is None:
                self._look_for_changes()
            self._fleet.turn()
        self._write_status()
        self._unpacked.look()
        self._keep_in_touch()
        self._writer.flush()

    def _obey(self, meaning: Meaning | None) -> None:
        if meaning is Meaning.RELOAD:
            self._reload_wanted = True
        elif meaning is Meaning.END:
            self._end()
        elif meaning is Meaning.STAY:
            log.info("terminal_gone")

    def _end(self) -> None:
        now = self._timer()
        if self._end_asked is None:
            self._notifier.tell(STOPPING=1, STATUS="finishing the running requests")
            log.info("stopping", connections=self._setup.counters.totals().open if self._setup else 0)
            self._sockets.close()
        elif now - self._end_asked < _ONE_PRESS:
            return
        self._end_asked = now
        self._fleet.end()

    # From one setup to the next

    def _begin(self, setup: Setup) -> None:
        """Start on the way to `setup`: its steward looks at the data, then its workers take over."""
        self._next = setup
        self._fleet.steward_of = setup
        self._fleet.steward_failed = False
        self._fleet.stillborn = None
        self._waits_for_data = setup.data() is None
        if not self._waits_for_data:
            self._fleet.workers_of = setup

    def _advance(self) -> None:
        """Go on towards the next setup, arrive there, or turn back."""
        setup, fleet = self._next, self._fleet
        if setup is None:
            return
        if self._waits_for_data and (fleet.settled or fleet.steward_failed):
            if self._setup is not None and setup.data() is None:
                self._turn_back("its customers cannot be imported; the event import_refused says why")
                return
            self._waits_for_data = False
            fleet.workers_of = setup
        if fleet.stillborn is setup:
            if self._setup is None:
                raise StartError("a worker ended before it was ready; the lines before this one say why")
            self._turn_back("its workers end before they are ready; the lines before this one say why")
        elif not self._waits_for_data and fleet.complete:
            self._arrive(setup)

    def _arrive(self, setup: Setup) -> None:
        first = self._setup is None
        self._setup, self._next = setup, None
        self._certificate = Watch(setup.certificate)  # now, not before: a reload that is turned back has used none
        addresses = [address_of(one) for one in self._sockets.public]
        facts = setup.data()
        log.info(
            "serving" if first else "reloaded",
            addresses=addresses,
            tls=setup.context is not None,
            workers=setup.workers,
            rows=facts.rows if facts else None,
        )
        self._tell_ready(
            f"{setup.workers} workers on {', '.join(addresses)}, {facts.rows if facts else 'no'} customers"
        )

    def _turn_back(self, why: str) -> None:
        """Go back to the setup that serves."""
        self._next = None
        self._fleet.steward_of = self._fleet.workers_of = self._setup
        self._refuse_reload(why)

    def _reload(self, before: Setup) -> None:
        """Read the config again and begin to use it; a bad one changes nothing."""
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            setup = make_setup(self._read(), self._environ, before)
        except (ConfigError, StartError, OSError) as fault:
            self._refuse_reload(str(fault))
            return
        self._reload_fault = self._certificate_fault = ""
        self._begin(setup)

    def _refuse_reload(self, why: str) -> None:
        self._reload_fault = why
        log.error("reload_refused", why=why)
        self._tell_ready(f"serving by the config of before; the new one is not used: {why.splitlines()[0]}")

    def _look_for_changes(self) -> None:
        """Begin the reload that was asked for, or use certificates that have changed and come to rest."""
        setup = self._setup
        if setup is None:
            return
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload(setup)
            return
        seen = certificates.signature(setup.settings)
        if seen == setup.certificate:  # what is in use is there, maybe again; without TLS there are no files
            self._certificate.ended(seen)
            self._certificate_fault = ""
            return
        if not self._certificate.due(seen):
            return
        try:
            setup = with_new_certificate(setup)
        except StartError as fault:
            # Tried at every look, for the same files may be good the next time: readable by then, or with memory left.
            self._certificate.ended(seen, again=True)
            if str(fault) != self._certificate_fault:
                self._certificate_fault = str(fault)
                log.error("certificate_refused", why=str(fault))
            return
        self._certificate.ended(seen)
        self._certificate_fault = ""
        log.info("certificate_changed")
        self._begin(setup)

    # Children

    def _start_child(self, kind: str, setup: Setup, row: ChildRow) -> int:
        self._writer.flush()
        post = Post(setup, row, self._status, self._writer, self._terminal, self._wake)

        pipe = self._raw.open(kind)

        def body() -> None:
            self._raw.redirect_child(pipe)
            for one in self._sockets.admin if kind == WORKER else self._sockets.public:
                one.close()
            if kind == WORKER:
                Worker(post, self._sockets.public).run()
            else:
                Steward(post, self._sockets.admin).run()

        try:
            pid = fork(body, self._writer.close, self._signals)
        except OSError:
            self._raw.discard(pipe)
            raise
        self._raw.watch(pipe, pid)
        return pid

    def _wake(self) -> None:
        """Have the supervisor look around now; called in a child."""
        signal.pidfd_send_signal(self._myself, signal.SIGUSR1)

    # Telling others

    def _write_status(self) -> None:
        setup = self._next if self._setup is None else self._setup
        self._status.write(
            SupervisorStatus(
                workers=setup.workers if setup else 0,
                worker_restarts=self._fleet.restarts[WORKER],
                steward_restarts=self._fleet.restarts[STEWARD],
                reload_fault=self._reload_fault[:_TOLD],
                certificate_fault=self._certificate_fault[:_TOLD],
                start_fault=self._fleet.start_fault,
                certificates=setup.served if setup else (),
            )
        )

    def _tell_ready(self, status: str) -> None:
        self._notifier.tell(READY=1, STATUS=status)

    def _keep_in_touch(self) -> None:
        """Tell systemd that this loop goes round, and that a long import is no reason to give up."""
        now = self._timer()
        if now - self._told < min(self._notifier.watchdog or _EXTEND, _EXTEND) / 3:
            return
        self._told = now
        if self._notifier.watchdog is not None:
            self._notifier.tell(WATCHDOG=1)
        if self._waits_for_data and self._next is not None:
            self._notifier.tell(EXTEND_TIMEOUT_USEC=int(_EXTEND * 1e6), STATUS="importing the customers")


def block_signals() -> frozenset[signal.Signals]:
    """Block the signals that are awaited, and return them.

    Those that were ignored at the start are awaited too: SIGHUP under nohup, SIGINT in the background of a script.
    """
    signals = _CHILDREN | _END | {signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, no death would ever be told
    return signals


def _user_to_become(settings: Settings, environ: Mapping[str, str]) -> pwd.struct_passwd | None:
    """Return the user of the config, who then owns the state folder; under systemd the unit has seen to that.

    Raises StartError.
    """
    if os.geteuid() != 0 or "INVOCATION_ID" in environ:
        return None
    if not settings.server.user:
        log.warning("running_as_root", todo="name a user in server.user, or run it under systemd")
        return None
    user = entry_of(settings.server.user)
    give(user, settings.server.state, settings.log.trail)
    return user
