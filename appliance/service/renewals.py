"""Keeps the certificates of [acme] fresh: the steward's part.

Whenever it is time by what is written down, or the settings have changed, a child process looks at a name
(acme_child.py). While it does, a flag in the shared memory tells the workers that there may be challenges. The new
certificate is used because its file has changed: the supervisor notices that, as with any other.

A child that could not write, or was killed, is followed by the next after ten minutes: what is written down would start
it again at once.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from appliance.acme import challenges, renewal
from appliance.acme.attempt import Job, Outcome, clock_sentence
from appliance.acme.http_responder import HttpResponder
from appliance.acme.jws import KeyFault, SigningKey
from appliance.acme.renewal import LOOK_EVERY, State
from appliance.acme.storage import Storage, is_token
from appliance.bootstrap.deployment import Deployment
from appliance.bootstrap.state_folder import acme_folder
from appliance.observe.health import RenewalInfo, days_until
from appliance.observe.logs import log
from appliance.service.acme_child import MAX_SECONDS, AcmeChild
from appliance.service.child_context import ChildContext
from appliance.service.child_end import ends_within
from appliance.system.fork import fork_failure
from appliance.system.work_thread import WorkThread

_POLL: Final = 1.0
_FINISH: Final = 1.5
"""Seconds for a look that is running when the steward is to end, out of the two that it has (fleet.py)."""


def make_job(deployment: Deployment, *, has_http: bool) -> Job:
    """Return what the settings say of certificates; `has_http` says whether there is a socket for HTTP-01."""
    acme = deployment.settings.acme
    external_key, account_key = deployment.acme_secrets
    return Job(
        folder=acme_folder(deployment.settings),
        directories=tuple((each.url, each.is_own) for each in acme.directory),
        challenges=tuple(kind for kind in acme.challenges if kind != challenges.HTTP or has_http),
        email=acme.email,
        profile=acme.profile,
        external_key=external_key,
        account_key=account_key,
        ca=acme.ca,
    )


class Renewals:
    """Looks at every name of [acme], for ever."""

    def __init__(self, context: ChildContext, http: Sequence[socket.socket], thread: WorkThread) -> None:
        """`http` are the sockets for HTTP-01, which listen already. `thread` stands still while a child is forked."""
        self._thread = thread
        settings = context.deployment.settings
        self._names = settings.acme.domains
        self._status = context.row.status
        self._job = make_job(context.deployment, has_http=bool(http))
        self._digest = self._job.digest
        self._storage = Storage(self._job.folder)
        self._http = http
        self._thumbprint = _thumbprint(self._job.account_key)
        self._is_ending = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._not_before: dict[str, float] = {}
        self._faults: dict[str, str] = {}
        self._warnings: dict[str, str] = {}

    @property
    def warnings(self) -> list[str]:
        """What needs attention, as sentences."""
        return list(dict.fromkeys(self._warnings.values()))

    async def run(self) -> None:
        """Look at every name when it is time to, until it is cancelled."""
        if self._http:
            await HttpResponder(self._http, self._names, self._answer).start()
        while True:
            for name in self._names:
                if self._is_due(name) and not self._is_ending:
                    self._idle.clear()
                    await self._look(name)
                    self._idle.set()
            await asyncio.sleep(_POLL)

    async def finish(self) -> None:
        """Begin no other look, and wait a moment for the end of the one that runs: killed, it costs a minute's wait."""
        self._is_ending = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _FINISH)

    def info(self, now: float) -> tuple[RenewalInfo, ...]:
        """Return what is known of each certificate."""
        return tuple(self._info(name, now) for name in self._names)

    def _info(self, name: str, now: float) -> RenewalInfo:
        state, has_certificate = self._storage.state(name), self._storage.pair_file(name).exists()
        facts = state.certificate
        problem = self._faults.get(name) or (state.problem.sentence if state.problem is not None else "")
        return RenewalInfo(
            name=name,
            days_left=days_until(facts.ends, now) if has_certificate and facts is not None else None,
            next_attempt=round(self._due_at(name, state, now)),
            problem=problem,
        )

    def _due_at(self, name: str, state: State, now: float) -> float:
        has_certificate = self._storage.pair_file(name).exists()
        has_order = self._storage.has_order(name)
        return renewal.due_at(state, has_certificate=has_certificate, has_order=has_order, now=now)

    def _is_due(self, name: str) -> bool:
        """Return whether it is time for a look, by what is written down, and the last one did not just fail."""
        if time.monotonic() < self._not_before.get(name, 0.0):
            return False
        now, state = time.time(), self._storage.state(name)
        has_other_config = state.config != self._digest  # or none yet
        return has_other_config or renewal.is_poll_due(state, now) or self._due_at(name, state, now) <= now

    async def _look(self, name: str) -> None:
        self._status.challenged = True
        try:
            outcome = await self._run_child(name)
        finally:
            self._status.challenged = False
        now = time.monotonic()
        if isinstance(outcome, str):
            self._not_before[name] = now + LOOK_EVERY
            if outcome != self._faults.get(name):
                log.error("certificate_renewal_failed", name=name, why=outcome)
            self._faults[name] = outcome
            return
        self._faults.pop(name, None)
        self._not_before[name] = now + _POLL
        self._report(name, outcome)

    async def _run_child(self, name: str) -> Outcome | str:
        try:
            async with self._thread.still():
                child = AcmeChild(self._job, name)
        except OSError as error:
            return fork_failure(error)
        is_late = False
        try:
            is_late = not await ends_within(child, MAX_SECONDS)
        finally:
            result = child.result()
        return f"the request for a certificate did not finish within {MAX_SECONDS} seconds" if is_late else result

    def _report(self, name: str, outcome: Outcome) -> None:
        if (facts := outcome.renewed) is not None:
            log.info(
                "certificate_renewed",
                name=name,
                first=outcome.is_first,
                ends=_date(facts.ends),
                directory=facts.directory,
                next_attempt=_date(outcome.next_attempt),
            )
        if outcome.problem is not None and outcome.is_new_problem:
            log.error(
                "certificate_renewal_failed",
                name=name,
                kind=outcome.problem.kind,
                why=outcome.problem.sentence,
                next_attempt=_date(outcome.next_attempt),
            )
        clock = clock_sentence(outcome.clock_offset)
        if self._is_new_warning("clock", clock):
            log.warning("clock_differs", why=clock)
        if self._is_new_warning(name, outcome.warning):
            log.warning("certificate_renewal_warning", name=name, why=outcome.warning)

    def _is_new_warning(self, key: str, why: str) -> bool:
        """Keep a warning for health, and return whether it is new; "" if it is over."""
        is_new = bool(why) and key not in self._warnings
        if why:
            self._warnings[key] = why
        else:
            self._warnings.pop(key, None)
        return is_new

    def _answer(self, token: str) -> bytes | None:
        """Return what is answered for a token of HTTP-01.

        With a shared account key every token is: any of several nodes may be asked for what another has begun.
        """
        if self._thumbprint and is_token(token):
            return f"{token}.{self._thumbprint}".encode()
        return self._storage.answer(token)


def _thumbprint(account_key: bytes) -> str:
    try:
        return SigningKey.load(account_key).thumbprint if account_key else ""
    except KeyFault:
        return ""  # the attempt says what is wrong with it


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
