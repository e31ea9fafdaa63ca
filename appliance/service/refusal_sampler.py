"""Wrong signatures: now and then one is looked at, and its likely cause is logged and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from appliance.observe.logs import log
from appliance.observe.shared_counters import WorkerCounters
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import Authenticator, SignedRequest

EVERY: Final = 10.0
"""Seconds between two looks of a worker at refusals of one app by one protocol: a flood costs no more than one each."""


class RefusalSampler:
    """What the edge hands refused requests to.

    A look takes some hundred microseconds, and 15 ms at a body that was made to be slow. It waits until the answer was
    sent, and takes as long whatever it finds; so neither the refused client nor another can tell by time what was
    compared.
    """

    def __init__(
        self,
        apps: Iterable[SidebarApp],
        counters: WorkerCounters,
        *,
        timer: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """`timer` returns seconds for measuring, `clock` seconds since 1970."""
        self._apps = {app.name: app for app in apps}
        self._counters = counters
        self._timer = timer
        self._clock = clock
        self._began = timer()
        self._next: dict[tuple[str, Authenticator], float] = {}

    def __call__(self, app: str, request: SignedRequest, protocol: Authenticator | None = None) -> None:
        """Diagnose a refused request of this app, unless another was diagnosed within EVERY."""
        now, asked = self._timer(), self._apps[app]
        protocol = protocol or asked.protocol
        if now >= self._next.get((app, protocol), self._began):
            self._next[app, protocol] = now + EVERY
            asyncio.get_running_loop().call_soon(self._diagnose, asked, request, protocol)

    def _diagnose(self, app: SidebarApp, request: SignedRequest, protocol: Authenticator) -> None:
        (cause, other), (why, todo) = protocol.explain(request)
        self._counters.refusal(app.name, cause, self._clock())
        of = {"secret_of": other} if other else {}
        if protocol.authenticate(request) is not None:
            log.warning("compressed_body", app=app.name, cause=cause, why=why, todo=todo)
        else:
            log.warning("wrong_signature", app=app.name, cause=cause, why=why, todo=todo, **of)
