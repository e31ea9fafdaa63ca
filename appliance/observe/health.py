"""Health: whether the service needs attention, why, and the facts behind that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from appliance import __version__
from appliance.observe.audit_trail import explain
from appliance.observe.shared_counters import CauseCount
from appliance.outcomes import Cause

DAY: float = 86400.0
NOT_ACCEPTED: Final = "Help Scout does not accept it"
_REPLACE_IT: Final = "name one from a public authority in tls.certificate and tls.key"
_ASK_ANOTHER: Final = "name a public authority in acme.directory"


class CertificateInfo(msgspec.Struct, frozen=True):
    """A certificate in use: some of its names, how many more there are, and when the first of its chain expires."""

    names: tuple[str, ...]
    more: int
    ends: float  # seconds since 1970
    distrust: str = ""  # why Help Scout does not accept it, as far as sidebard can tell
    renewal: float | None = None  # from when on it, or one of its chain, is near its end; None if that is not known
    issuer: str = ""  # the one of its chain that expires first; "" if it is the server's own
    is_placeholder: bool = False  # it is served until the authority has issued one

    def is_near_end(self, now: float) -> bool:
        """Return whether it, or one of its chain, should have been renewed by `now`."""
        return self.renewal is not None and now >= self.renewal


class SupervisorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor knows and the steward reports."""

    workers: int = 0
    worker_restarts: int = 0
    steward_restarts: int = 0
    reload_fault: str = ""
    certificate_fault: str = ""
    start_fault: str = ""  # why a process cannot be started; "" if none is missing
    certificates: tuple[CertificateInfo, ...] = ()  # the first to expire comes first; empty without TLS


class SnapshotInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The newest snapshot."""

    generation: int
    rows: int
    addresses: int
    as_of: float
    age_seconds: float


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the last import, successful or not."""

    at: float
    refused: str = ""  # why, in a sentence; "" if it succeeded
    rows: int = 0
    bad_rows: int = 0
    bad: tuple[str, ...] = ()  # the first of them: file, line, and what is wrong
    without_address: int = 0
    shared_addresses: int = 0
    seconds: float = 0.0


class ApiInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Help Scout's Inbox API, which is asked for ids of which nothing is known. Times are seconds since 1970."""

    fault: str = ""  # why the last request had no answer, and what to do; "": it had one
    next_try: float | None = None  # before that it is not asked; None: it may be asked now
    requests: int = 0  # since the steward started
    limit: int  # of the account, in a minute
    remaining: int | None = None  # of them, at the last answer
    waiting: int = 0  # ids that wait for an answer


class FillInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The list of all customers: how far it is. Times are seconds since 1970, 0 if it has not come to that."""

    pages: int = 0
    customers: int = 0
    started: float = 0.0
    finished: float = 0.0
    why: str = ""  # why the last page could not be listed; "": it could


class FetchInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The fetches from servers: the last that worked, why the last did not, and when the next one is."""

    at: float | None = None
    seconds: float | None = None
    unchanged: bool = False  # the server said so; nothing was fetched
    error: str = ""
    next: float | None = None  # None: only when the password or the config has changed


class IdsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the help desk's ids of customers: of how many, and why nothing more can be stored."""

    known: int
    fault: str = ""  # "": it can
    newest_age_seconds: float | None = None  # since something was stored; None: nothing ever was
    changes: dict[str, int] = {}  # stored since the steward started, by who said it
    api: ApiInfo | None = None  # None: it is not asked
    fill: FillInfo | None = None  # None: the customers are not listed


class RenewalInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that is obtained automatically: for which name, and what is known of the next one."""

    name: str
    days_left: float | None  # None: there is no certificate yet
    next_attempt: float  # seconds since 1970; in the past: as soon as can be
    problem: str = ""  # why the last attempt failed; "" if it did not


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """The workers: how many there should be, how many are ready, and which snapshots they answer from."""

    wanted: int
    ready: int
    restarts: int
    generations: tuple[int, ...]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health as /healthz shows it."""

    status: str
    reasons: list[str]
    warnings: list[str] = []
    """What needs attention but does not make the service unhealthy."""
    version: str = __version__
    data: SnapshotInfo | None
    last_import: Import | None
    fetch: FetchInfo | None = None
    """None if all sources are files."""
    certificate_days_left: float | None
    certificate_near_end: bool | None = None
    """Whether a certificate in use, or one of its chain, should have been renewed by now; None without TLS."""
    workers: Workers
    ids: IdsInfo | None = None
    """None without an app that has a page."""
    acme: tuple[RenewalInfo, ...] = ()
    """The certificates that are obtained automatically, one for each name of [acme]."""
    refusals: dict[str, dict[str, CauseCount]] = {}
    """Wrong signatures that were diagnosed, by app and likely cause. Anybody can send them, so they are no reason."""


def examine(
    now: float,
    supervisor: SupervisorStatus,
    workers: Workers,
    data: SnapshotInfo | None,
    last_import: Import | None,
    max_age: float | None,
    refusals: Mapping[tuple[str, Cause], CauseCount],
    trail_error: int = 0,
    more_reasons: Sequence[str] = (),
    ids: IdsInfo | None = None,
    fetch: FetchInfo | None = None,
    acme: Sequence[RenewalInfo] = (),
    more_warnings: Sequence[str] = (),
) -> Health:
    """Return the health at `now`, seconds since 1970. Every reason is a sentence; with any, the status is "degraded".

    `trail_error` is the errno that says why the audit trail cannot be written, 0 if it can.
    """
    days_left = days_until(supervisor.certificates[0].ends, now) if supervisor.certificates else None
    rules = (
        (data is None, "there is no customer data yet"),
        (
            data is not None and max_age is not None and data.age_seconds > max_age,
            "the customer data is older than customers.max_age",
        ),
        (bool(last_import and last_import.refused), f"the last import was refused: {_why(last_import)}"),
        (bool(supervisor.certificate_fault), f"the new certificate is not used: {supervisor.certificate_fault}"),
        (bool(supervisor.reload_fault), f"the new config is not used: {supervisor.reload_fault}"),
        (
            bool(trail_error),
            f"the audit trail cannot be written: {explain(trail_error)}; its lines are being queued, up to a limit",
        ),
        (ids is not None and bool(ids.fault), f"what webhooks say cannot be stored: {ids.fault if ids else ''}"),
        (bool(supervisor.start_fault), supervisor.start_fault),
        (workers.ready < workers.wanted, f"{workers.ready} of {workers.wanted} workers are ready"),
    )
    certificates = supervisor.certificates
    expired = dict.fromkeys(_expired(one) for one in certificates if one.ends <= now)
    missing = [_missing(each) for each in acme if each.days_left is None]
    reasons = [*more_reasons, *(reason for applies, reason in rules if applies), *expired, *missing]
    late = [_late(each) for each in acme if each.days_left is not None and each.problem]
    near = [_near_end(one, now) for one in certificates if one.is_near_end(now) and one.ends > now]
    api = [ids.api.fault] if ids is not None and ids.api is not None and ids.api.fault else []
    return Health(
        status="degraded" if reasons else "ok",
        reasons=reasons,
        warnings=[
            *(_distrusted(one, acme) for one in certificates if one.distrust and not one.is_placeholder),
            *near,
            *late,
            *api,
            *more_warnings,
        ],
        data=data,
        last_import=last_import,
        fetch=fetch,
        certificate_days_left=days_left,
        certificate_near_end=any(one.is_near_end(now) for one in certificates) if certificates else None,
        workers=workers,
        ids=ids,
        acme=tuple(acme),
        refusals=_by_app(refusals),
    )


def _missing(renewal: RenewalInfo) -> str:
    why = renewal.problem or "the authority has been asked for it, or is about to be"
    return f"there is no certificate for {renewal.name} yet: {why}"


def _late(renewal: RenewalInfo) -> str:
    return f"the certificate for {renewal.name} could not be renewed: {renewal.problem}"


def _distrusted(certificate: CertificateInfo, acme: Sequence[RenewalInfo]) -> str:
    todo = _ASK_ANOTHER if any(each.name in certificate.names for each in acme) else _REPLACE_IT
    return f"the certificate for {_names(certificate)} is {certificate.distrust}, so {NOT_ACCEPTED}; {todo}"


def _expired(certificate: CertificateInfo) -> str:
    if certificate.issuer:
        return f"in the chain of the certificate for {_names(certificate)}, that of {certificate.issuer} has expired"
    return "the certificate has expired"


def _near_end(certificate: CertificateInfo, now: float) -> str:
    names, days = _names(certificate), days_until(certificate.ends, now)
    if certificate.issuer:
        return (
            f"in the chain of the certificate for {names}, that of {certificate.issuer} expires in {days} days; use the"
            " chain that the authority issues today"
        )
    return f"the certificate for {names} expires in {days} days; renew it"


def _names(certificate: CertificateInfo) -> str:
    return ", ".join(certificate.names) or "no name"


def days_until(ends: float, now: float) -> float:
    """Return how many days are left; below zero if it is in the past."""
    return round((ends - now) / DAY, 2)


def _by_app(refusals: Mapping[tuple[str, Cause], CauseCount]) -> dict[str, dict[str, CauseCount]]:
    apps: dict[str, dict[str, CauseCount]] = {}
    for (app, cause), found in refusals.items():
        apps.setdefault(app, {})[cause] = found
    return apps


def _why(last_import: Import | None) -> str:
    return last_import.refused if last_import else ""
