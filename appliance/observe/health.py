"""Health: whether somebody should look after the service, why, and the facts behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from appliance import __version__
from appliance.observe.metrics import Refusals
from appliance.observe.trail import explain
from appliance.outcomes import Cause

DAY: float = 86400.0
NOT_ACCEPTED: Final = "Help Scout does not accept it"
_GET_ONE: Final = "name one from a public authority in tls.certificate and tls.key"


class Served(msgspec.Struct, frozen=True):
    """A certificate in use: some of the names it is for, how many more there are, and when it ends."""

    names: tuple[str, ...]
    more: int
    ends: float  # seconds since 1970
    distrust: str = ""  # why Help Scout does not accept it, as far as can be told


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor knows and the steward tells."""

    workers: int = 0
    worker_restarts: int = 0
    steward_restarts: int = 0
    reload_fault: str = ""
    certificate_fault: str = ""
    start_fault: str = ""  # why a process that should be there cannot be started
    certificates: tuple[Served, ...] = ()  # the one that ends first at the front; none without TLS


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The newest snapshot."""

    generation: int
    rows: int
    addresses: int
    as_of: float
    age_seconds: float


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """How the last import that was tried ended."""

    at: float
    refused: str = ""  # why, in a sentence; "" for a good one
    rows: int = 0
    bad_rows: int = 0
    bad: tuple[str, ...] = ()  # the first of them: file, line, and what is wrong
    without_address: int = 0
    shared_addresses: int = 0
    seconds: float = 0.0


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """The workers: how many there should be, how many answer, and from which snapshots."""

    wanted: int
    ready: int
    restarts: int
    generations: tuple[int, ...]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as /healthz gives it."""

    status: str
    reasons: list[str]
    warnings: list[str] = []
    """What needs attention and is no reason to call the service unhealthy."""
    version: str = __version__
    data: Data | None
    last_import: Import | None
    certificate_days_left: float | None
    workers: Workers
    refusals: dict[str, dict[str, Refusals]] = {}
    """By app and likely cause: wrong signatures that were looked at. Anybody can send them, so they are no reason."""


def examine(
    now: float,
    situation: Situation,
    workers: Workers,
    data: Data | None,
    last_import: Import | None,
    max_age: float | None,
    refusals: Mapping[tuple[str, Cause], Refusals],
    trail_fault: int = 0,
    troubles: Sequence[str] = (),
) -> Health:
    """Give the health at `now`, seconds since 1970. Every reason is a sentence; with any, the status is "degraded".

    `trail_fault` is the errno of why the access trail cannot be written, 0 for none; `troubles` are further reasons.
    """
    days_left = days_until(situation.certificates[0].ends, now) if situation.certificates else None
    rules = (
        (data is None, "there is no customer data yet"),
        (
            data is not None and max_age is not None and data.age_seconds > max_age,
            "the customer data is older than customers.max_age",
        ),
        (bool(last_import and last_import.refused), f"the last import was refused: {_why(last_import)}"),
        (days_left is not None and days_left <= 0, "the certificate has expired"),
        (bool(situation.certificate_fault), f"the new certificate is not used: {situation.certificate_fault}"),
        (bool(situation.reload_fault), f"the new config is not used: {situation.reload_fault}"),
        (
            bool(trail_fault),
            f"the access trail cannot be written: {explain(trail_fault)}; its lines wait, up to a limit",
        ),
        (bool(situation.start_fault), situation.start_fault),
        (workers.ready < workers.wanted, f"{workers.ready} of {workers.wanted} workers answer"),
    )
    reasons = [*troubles, *(reason for applies, reason in rules if applies)]
    return Health(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        warnings=[_warning(served) for served in situation.certificates if served.distrust],
        data=data,
        last_import=last_import,
        certificate_days_left=days_left,
        workers=workers,
        refusals=_by_app(refusals),
    )


def _warning(served: Served) -> str:
    names = ", ".join(served.names) or "no name"
    return f"the certificate for {names} is {served.distrust}, so {NOT_ACCEPTED}; {_GET_ONE}"


def days_until(ends: float, now: float) -> float:
    """Give how many days are left; below zero when it is over."""
    return round((ends - now) / DAY, 2)


def _by_app(refusals: Mapping[tuple[str, Cause], Refusals]) -> dict[str, dict[str, Refusals]]:
    apps: dict[str, dict[str, Refusals]] = {}
    for (app, cause), found in refusals.items():
        apps.setdefault(app, {})[cause] = found
    return apps


def _why(last_import: Import | None) -> str:
    return last_import.refused if last_import else ""
