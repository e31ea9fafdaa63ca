"""Wrong signatures: now and then one is looked at, and its likely cause is logged and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from appliance.observe.logs import log
from appliance.observe.metrics import Row
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
        row: Row,
        *,
        timer: Callable[[], float],
        clock: Callable[[], float],
        call_soon: Callable[..., Any],
    ) -> None:
        """`timer` gives seconds for measuring, `clock` seconds since 1970; `call_soon` is the loop's."""
        self._app = app
        self._row = row
        self._timer = timer
        self._clock = clock
        self._call_soon = call_soon
        self._next = timer()

    def __call__(self, body: bytes, signature: bytes | None, encoding: str) -> None:
        """Take a refused request; look at it if none was looked at lately."""
        now = self._timer()
        if now >= self._next:
            self._next = now + EVERY
            self._call_soon(self._look, body, signature, encoding)

    def _look(self, body: bytes, signature: bytes | None, encoding: str) -> None:
        (cause, other), (why, todo) = self._app.explain(body, signature, encoding)
        self._row.refusal(self._app.name, cause, self._clock())
        of = {"secret_of": other} if other else {}
        if self._app.accepts(body, signature):
            log.warning("compressed_body", app=self._app.name, cause=cause, why=why, todo=todo)
        else:
            log.warning("wrong_signature", app=self._app.name, cause=cause, why=why, todo=todo, **of)
