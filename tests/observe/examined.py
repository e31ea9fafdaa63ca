"""The health of a service that is well, but for what a test changes."""

from __future__ import annotations

from appliance.observe.health import Health, SnapshotInfo, SupervisorStatus, Workers, examine

WORKERS = Workers(wanted=2, ready=2, restarts=0, generations=(1, 1))


DATA = SnapshotInfo(generation=3, rows=10, addresses=12, as_of=1000.0, age_seconds=60.0)


def health(**changes: object) -> Health:
    facts = {
        "now": 1060.0,
        "supervisor": SupervisorStatus(workers=2),
        "workers": WORKERS,
        "data": DATA,
        "last_import": None,
        "max_age": None,
        "refusals": {},
        **changes,
    }
    return examine(**facts)  # type: ignore[arg-type]
