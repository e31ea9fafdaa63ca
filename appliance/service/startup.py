"""The start of the service: everything is checked, opened and put together before the supervisor's loop runs.

As root, it does what needs root (the state folder's owner, the sockets, the secrets), and then drops its privileges for
good. Under systemd all of it is the unit's work, and this process is never root.
"""

from __future__ import annotations

import gc
import os
import pwd
import signal
import time
from collections.abc import Callable, Mapping

from appliance.bootstrap.deployment import make_deployment
from appliance.bootstrap.sockets import open_sockets
from appliance.bootstrap.state_folder import hand_over_state
from appliance.config.schema import Settings
from appliance.observe.health import SupervisorStatus
from appliance.observe.logs import log
from appliance.observe.shared_value import SharedValue
from appliance.observe.writer import Writer
from appliance.service import heartbeat
from appliance.service.children import ChildStarter
from appliance.service.fleet import Fleet
from appliance.service.supervisor import Supervisor, block_signals
from appliance.system.frozen import UnpackedWatch
from appliance.system.privileges import drop_privileges, lock_down, user_entry
from appliance.system.raw_output import RawOutput
from appliance.system.systemd import Notifier
from appliance.system.terminal import Terminal, has_terminal


def serve(
    read: Callable[[], Settings],
    environ: Mapping[str, str],
    writer: Writer,
    raw: RawOutput,
    check_start: Callable[[Settings, pwd.struct_passwd | None], None],
    *,
    terminal: bool,
) -> None:
    """Start the service, and serve until a signal asks to stop. Raises ConfigError and StartError if it cannot start.

    `read` returns the settings as they are now, or raises ConfigError; `writer` and `terminal` are the log's; `raw`
    reads what the processes write to stdout and stderr besides it. `check_start` runs the checks of a start and logs
    what they find; it gets the settings, and the user that this process is going to become.
    """
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    controlling_terminal = Terminal(time.monotonic, nohup=nohup, is_there=has_terminal)
    unpacked = UnpackedWatch(time.monotonic)
    settings = read()
    user = _service_user(settings, environ)
    first = make_deployment(settings, environ, owner=user)
    sockets = open_sockets(settings, environ)
    check_start(settings, user)
    # The sockets are open and the secrets are read: nothing more needs root.
    if user is not None:
        drop_privileges(user)
    else:
        lock_down()
    signals = block_signals()
    status = SharedValue(SupervisorStatus())
    starter = ChildStarter(sockets, status, writer, raw, signals, terminal=terminal)
    fleet = Fleet(starter.start, time.monotonic, heartbeat.STUCK_AFTER, raw.read)
    supervisor = Supervisor(
        first,
        lambda current: make_deployment(read(), environ, current),
        fleet,
        sockets,
        status,
        signals,
        notifier=Notifier(environ),
        terminal=controlling_terminal,
        writer=writer,
        raw=raw,
        unpacked=unpacked,
        timer=time.monotonic,
    )
    gc.freeze()  # all objects up to here are shared with the children; a collection would copy their pages
    try:
        supervisor.run()
    finally:
        fleet.kill()
        sockets.close()
        starter.close()
        if "LISTEN_PID" not in environ:
            _remove_unix_sockets(settings)


def _service_user(settings: Settings, environ: Mapping[str, str]) -> pwd.struct_passwd | None:
    """Return the user that this process is to become, after making them the owner of the state folder.

    Return None for the user that it is already; so it is under systemd, whose unit names the user. Raises StartError.
    """
    if os.geteuid() != 0 or "INVOCATION_ID" in environ:
        return None
    if not settings.server.user:
        if settings.is_trial:
            return None
        log.warning("running_as_root", todo="name a user in server.user, or run it under systemd")
        return None
    user = user_entry(settings.server.user)
    hand_over_state(user, settings.server.state, settings.log.trail)
    return user


def _remove_unix_sockets(settings: Settings) -> None:
    for endpoint in (settings.admin.listen, *settings.server.listen):
        if endpoint is not None and endpoint.unix is not None:
            endpoint.unix.unlink(missing_ok=True)
