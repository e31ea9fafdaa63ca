"""An hour in the life of the service, made up but always the same, for the status page to show."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec

from appliance.observe.health import (
    ApiInfo,
    CertificateInfo,
    FillInfo,
    Health,
    IdsInfo,
    Import,
    SnapshotInfo,
    SupervisorStatus,
    Workers,
    examine,
)
from appliance.observe.history import EVERY, History
from appliance.observe.shared_counters import CauseCount, SharedCounters
from appliance.observe.status_page import PageData
from appliance.outcomes import Cause, Outcome
from tests.factory import NOW

WAYS = (
    (Outcome.FOUND, "hit", 0.6),
    (Outcome.FOUND, "miss", 0.2),
    (Outcome.UNKNOWN, "miss", 0.12),
    (Outcome.NO_ADDRESS, "", 0.03),
    (Outcome.BAD_SIGNATURE, "", 0.03),
    (Outcome.CARD_FAULT, "miss", 0.02),
)
SUPERVISOR = SupervisorStatus(
    workers=2,
    worker_restarts=1,
    certificates=(
        CertificateInfo(("cards.example.com", "helpdesk.example.com"), 0, NOW + 61.3 * 86400),
        CertificateInfo(("old.example.com", "older.example.com", "oldest.example.com"), 4, NOW + 80 * 86400),
    ),
)
IMPORT = Import(
    at=NOW - 40,
    rows=104_211,
    bad_rows=2,
    bad=("customers.csv:2113: has 6 cells, and the header has 7", "customers.csv:90112: has no address"),
    without_address=31,
    shared_addresses=12,
    seconds=0.42,
)


IDS = IdsInfo(
    known=48_113,
    newest_age_seconds=75.0,
    changes={"webhook": 412, "message": 90, "api": 31, "fill": 47_600},
    api=ApiInfo(requests=1_031, limit=400, remaining=211, waiting=2, next_try=NOW + 17, fault="it is slow; wait"),
    fill=FillInfo(pages=952, customers=47_600, started=NOW - 700, finished=NOW - 90, why="the disk is full"),
)


def health(
    reasons: Sequence[str] = (),
    supervisor: SupervisorStatus = SUPERVISOR,
    last: Import | None = IMPORT,
    ids: IdsInfo | None = None,
) -> Health:
    """Return a health with these reasons."""
    data = SnapshotInfo(generation=17, rows=104_211, addresses=131_870, as_of=NOW - 42, age_seconds=42.0)
    workers = Workers(wanted=2, ready=2, restarts=1, generations=(17, 17))
    refusals = {
        ("helpscout", Cause.UNKNOWN): CauseCount(3, int(NOW - 900)),
        ("helpscout", Cause.HEX): CauseCount(1, int(NOW)),
    }
    found = examine(NOW, supervisor, workers, data, last, None, refusals, ids=ids)
    return msgspec.structs.replace(found, status="degraded" if reasons else "ok", reasons=list(reasons))


def busy_status(rate: float = 4.0, looks: int = 361, **changes: object) -> PageData:
    """Return what the page shows after so many readings at about `rate` requests a second."""
    chance, shared, history = random.Random(1), SharedCounters(["helpscout"], 2), History()
    counters = shared.worker(0).counters
    now = NOW - (looks - 1) * EVERY
    for look in range(looks):
        history.record(now, shared.totals())
        wanted = rate * EVERY * (1 + 0.6 * math.sin(look / 40)) * chance.uniform(0.8, 1.2)
        for _ in range(round(wanted) if not 120 < look < 140 else 0):
            outcome, cache, _ = chance.choices(WAYS, [weight for *_, weight in WAYS])[0]
            typical = {"hit": 0.00003, "miss": 0.0002, "": 0.0}[cache]
            counters.request(
                "helpscout", outcome, cache, chance.lognormvariate(math.log(typical), 0.8) if cache else 0.0
            )
        counters.connection_opened()
        if look % 10:
            counters.connection_closed()
        now += EVERY
    facts = {
        "now": NOW,
        "health": health(),
        "supervisor": SUPERVISOR,
        "totals": shared.totals(),
        "minutes": history.minutes(NOW),
        "recent": history.recent(),
        **changes,
    }
    return PageData(**facts)  # type: ignore[arg-type]
