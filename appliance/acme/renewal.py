"""When to ask for a certificate: decided from what is written down, a clock and chance, without any I/O.

A certificate is wanted

    at once         if there is none, or an order for it was begun and has not ended
    at `Plan.at`    otherwise: a random moment of the window that the authority suggests (RFC 9773); without a window
                    two thirds into the lifetime, or half of one under ten days, give or take 2 % of it

It is asked for then, but never

    before `State.next_attempt`, which is written before an attempt is made: a process that is killed and restarted
                    again and again makes no more attempts than one that is not
    a third time in a day for one name, whatever the authority suggests: five in a week are all that Let's Encrypt
                    issues for the same names

After an attempt that failed, the next one follows by DELAYS, a tenth sooner or later at random. After a problem that
only the operator can fix, such as a CAA record, the wait is 12 hours, give or take a tenth. If the authority asks for a
longer wait (Retry-After), that is kept, up to a day: never shortened, and lengthened by up to a tenth at random. A
change of `[acme]` ends any wait. After FAILURES in a row the next directory of the list is used.

A time further off than any of these waits was written by a wrong clock, and is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0

DELAYS: Final = tuple(MINUTE * minutes for minutes in (1, 5, 15, 60, 120, 240, 480, 720))
"""From one failed attempt to the next; the last of them from then on."""

LONGEST: Final = 30 * HOUR
"""No wait is longer: neither one of DELAYS, nor what an authority asks for, with what chance adds."""

LOOK_EVERY: Final = 10 * MINUTE
FAILURES: Final = 13
"""Failed attempts in a row, about three days, after which the next directory is asked."""

PER_DAY: Final = 2
_SPREAD: Final = 0.1
_MOST_RETRY_AFTER: Final = DAY
_SHORT: Final = 10 * DAY
_PLAN_SPREAD: Final = 0.02
_LAST_TENTH: Final = 0.1
_POLL_LEAST: Final = 10 * MINUTE

Random = Callable[[], float]
"""Returns a number from 0 to 1."""


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a renewal needs to know of a certificate; times are seconds since 1970."""

    serial: str
    begins: float
    ends: float
    ari_id: str = ""
    """Its name in the authority's renewal information; "" if it has no authority key identifier."""
    directory: str = ""
    """The URL of the directory that it came from; "" if that is not known."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """When a certificate is to be renewed. It is for one serial number: an old window never renews a new one."""

    serial: str
    at: float
    window: tuple[float, float] | None = None
    poll_at: float = 0.0
    """When to ask for the authority's window again."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last attempt failed."""

    kind: str
    sentence: str
    at: float


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down of one name, beside its certificate."""

    config: str = ""
    """A digest of `[acme]`: with another one the wait is over."""
    failures: int = 0
    next_attempt: float = 0.0
    problem: Problem | None = None
    issued: tuple[float, ...] = ()
    """When the last certificates were asked for."""
    certificate: CertificateFacts | None = None
    plan: Plan | None = None


def due_at(state: State, *, has_certificate: bool, has_order: bool, now: float) -> float:
    """Return when the next attempt may be made; a time in the past means now."""
    certificate, wanted = state.certificate, 0.0
    if has_certificate and certificate is not None and not has_order:
        plan = state.plan
        wanted = plan.at if plan is not None and plan.serial == certificate.serial else planned_at(certificate, 0.5)
    wait = state.next_attempt if state.next_attempt - now <= LONGEST else 0.0
    return max(wanted, wait, guarded_until(state, now))


def guarded_until(state: State, now: float) -> float:
    """Return until when no certificate may be asked for, because there were enough in a day; 0 if one may."""
    recent = sorted(at for at in state.issued if 0 <= now - at < DAY)
    return recent[-PER_DAY] + DAY if len(recent) >= PER_DAY else 0.0


def is_poll_due(state: State, now: float) -> bool:
    """Return whether it is time to ask the authority for its window."""
    plan = state.plan
    return plan is not None and not now < plan.poll_at <= now + DAY + LONGEST


def planned_at(certificate: CertificateFacts, chance: float) -> float:
    """Return when to renew a certificate whose authority suggests no window; `chance` is a number from 0 to 1."""
    lifetime = certificate.ends - certificate.begins
    share = 1 / 2 if lifetime < _SHORT else 2 / 3
    return certificate.begins + lifetime * (share + _PLAN_SPREAD * (2 * chance - 1))


def plan_of(state: State, certificate: CertificateFacts, random: Random) -> Plan:
    """Return the plan for a certificate: the one that is written down, or else a new one without a window."""
    plan = state.plan
    if plan is not None and plan.serial == certificate.serial:
        return plan
    return Plan(serial=certificate.serial, at=planned_at(certificate, random()))


def with_window(
    plan: Plan,
    certificate: CertificateFacts,
    window: tuple[float, float],
    retry_after: float,
    now: float,
    random: Random,
) -> Plan:
    """Return the plan with the window that the authority suggests now.

    The moment is chosen once for each window. One that is no window, or in which the certificate has hardly any time
    left, is ignored.
    """
    start, end = window
    latest = certificate.ends - _LAST_TENTH * (certificate.ends - certificate.begins)
    poll_at = now + min(max(retry_after, _POLL_LEAST), DAY)
    if not start < end or start >= latest:
        return without_window(plan, certificate, poll_at, random)
    if window == plan.window:
        return msgspec.structs.replace(plan, poll_at=poll_at)
    at = start + (min(end, latest) - start) * random()
    return Plan(serial=certificate.serial, at=at, window=window, poll_at=poll_at)


def without_window(plan: Plan, certificate: CertificateFacts, poll_at: float, random: Random) -> Plan:
    """Return the plan after the authority suggested nothing of use."""
    if plan.window is None:
        return msgspec.structs.replace(plan, poll_at=poll_at)
    return Plan(serial=certificate.serial, at=planned_at(certificate, random()), poll_at=poll_at)


def poll_failed(plan: Plan, now: float, random: Random) -> Plan:
    """Return the plan after the authority could not be asked for its window: what was planned stays."""
    return msgspec.structs.replace(plan, poll_at=now + _spread(6 * HOUR, random))


def begin(state: State, now: float, random: Random) -> State:
    """Return what to write down before an attempt: it counts as failed until it has succeeded."""
    failures = state.failures + 1
    return msgspec.structs.replace(state, failures=failures, next_attempt=now + _delay(failures, random))


def postponed(state: State, problem: Problem, now: float, random: Random) -> State:
    """Return the state where no attempt could be made, because the name has no address yet."""
    return msgspec.structs.replace(state, problem=problem, next_attempt=now + _spread(LOOK_EVERY, random))


def failed(
    state: State, problem: Problem, now: float, random: Random, *, retry_after: float = 0.0, only_operator: bool = False
) -> State:
    """Return the state after an attempt that was begun has failed."""
    wait = DELAYS[-1] if only_operator else 0.0
    wait = max(wait, min(retry_after, _MOST_RETRY_AFTER))
    next_attempt = max(state.next_attempt, now + _spread(wait, random)) if wait else state.next_attempt
    if retry_after and wait == min(retry_after, _MOST_RETRY_AFTER):
        next_attempt = max(next_attempt, now + wait)  # never sooner than asked for
    return msgspec.structs.replace(state, problem=problem, next_attempt=next_attempt)


def asked(state: State, now: float) -> State:
    """Return what to write down before a certificate is asked for."""
    recent = tuple(at for at in state.issued if 0 <= now - at < DAY)
    return msgspec.structs.replace(state, issued=(*recent, now))


def succeeded(state: State, certificate: CertificateFacts, random: Random) -> State:
    """Return the state with a new certificate."""
    plan = Plan(serial=certificate.serial, at=planned_at(certificate, random()))
    return msgspec.structs.replace(
        state, failures=0, next_attempt=0.0, problem=None, certificate=certificate, plan=plan
    )


def with_config(state: State, digest: str) -> State:
    """Return the state for the settings as they are now: others than before forget the wait."""
    if state.config == digest:
        return state
    return msgspec.structs.replace(state, config=digest, failures=0, next_attempt=0.0)


def choose(failures: int, count: int) -> int:
    """Return which of `count` directories is asked after so many failures in a row."""
    return failures // FAILURES % count


def _delay(failures: int, random: Random) -> float:
    return _spread(DELAYS[min(failures, len(DELAYS)) - 1], random)


def _spread(seconds: float, random: Random) -> float:
    return seconds * (1 + _SPREAD * (2 * random() - 1))
