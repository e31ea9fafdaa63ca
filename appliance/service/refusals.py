"""Wrong signatures: now and then one is looked at, and its likely cause is logged and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from appliance.observe.logs import log
from appliance.observe.shared_counters import WorkerCounters
from appliance.outcomes import ADVICE
from appliance.sidebar.app import SidebarApp

EVERY: Final = 10.0
"""Seconds between two looks of a worker at an app's refusals: a flood of them costs no more than one each."""


class RefusalWatch:
    """What an app tells its refusals to.

    A look takes some hundred microseconds, and 15 ms at a body that was made to be slow. It waits until the answer was
    sent, and takes as long whatever it finds; so neither the refused client nor another can tell by time what was
    compared.
    """

    def __init__(
        self,
        app: SidebarApp,
        counters: WorkerCounters,
        *,
        timer: Callable[[], float],
        clock: Callable[[], float],
        call_soon: Callable[..., Any],
    ) -> None:
        """`timer` gives seconds for measuring, `clock` seconds since 1970; `call_soon` is the loop's."""
        self._app = app
        self._counters = counters
        self._timer = timer
        self._clock = clock
        self._call_soon = call_soon
        self._next = timer()

    def __call__(self, body: bytes, signature: bytes | None) -> None:
        """Take a refused request; look at it if none was looked at lately."""
        now = self._timer()
        if now >= self._next:
            self._next = now + EVERY
            self._call_soon(self._look, body, signature)

    def _look(self, body: bytes, signature: bytes | None) -> None:
        cause, other = self._app.diagnose(body, signature)
        why, todo = ADVICE[cause]
        self._counters.refusal(self._app.name, cause, self._clock())
        of = {"secret_of": other} if other else {}
        log.warning("wrong_signature", app=self._app.name, cause=cause, why=why, todo=todo, **of)
