"""Makes the things that many tests need: customers, a snapshot of them, an app that answers from it."""

from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from appliance.cards.template import CardTemplate
from appliance.customers.id_map import IdMap
from appliance.customers.snapshot import Snapshot
from appliance.customers.snapshot_store import open_newest
from appliance.ingest import sources
from appliance.ingest.importer import import_customers
from appliance.ingest.spec import ImportSpec, RelatedSpec, Report
from appliance.sidebar.answer_cache import AnswerCache
from appliance.sidebar.app import Card, Rules, SidebarApp
from appliance.sidebar.protocols.base import HelpDesk, Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp
from appliance.sidebar.protocols.query_signed import QuerySigned, Visit
from appliance.sidebar.protocols.signature import Secret

SECRET = "a secret of the tests"
NOW = 1_790_000_000.0

CUSTOMERS = (
    ("email", "name", "plan"),
    ("ann@example.com", "Ann Lee", "Pro"),
    ("jackie.chan@example.com", "Jackie", "Free"),
    ("jackie.chan@somewhere.com", "Jackie Chan", "Free"),
    ("help@helpscout.net", "Help Scout", "Plus"),
    ("a_b%c@example.com", "Wild Card", "Pro"),
    ("jürgen@exämple.com", "Jürgen", "Pro"),
)


class Timer:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def write_csv(file: Path, rows: Iterable[Sequence[str]] = CUSTOMERS, **dialect: Any) -> Path:
    """Write rows, the header first."""
    with open(file, "w", encoding="utf-8", newline="") as text:
        csv.writer(text, **dialect).writerows(rows)
    return file


KEYS = {
    "table": "customers",
    "encoding": "",
    "skip_lines": 0,
    "unterminated_last_line": "refuse",
    "ready_file": None,
    "checksum_file": None,
}
"""Keys of [customers] that say how a source is read, by their defaults."""


def import_spec(source: Path, **given: Any) -> ImportSpec:
    """Return what to import: this file, by the keys of [customers] that are given."""
    parsed = sources.parse(str(source), source, "customers", {**KEYS, **given})
    fields = ImportSpec.__dataclass_fields__
    return ImportSpec(source=parsed, **{key: value for key, value in given.items() if key in fields})


def related_spec(source: Path, name: str, **given: Any) -> RelatedSpec:
    """Return the related rows of this file, by the keys of [related.NAME] that are given."""
    parsed = sources.parse(str(source), source, f"related.{name}", {**KEYS, "table": name, **given})
    fields = RelatedSpec.__dataclass_fields__
    return RelatedSpec(name=name, source=parsed, **{key: value for key, value in given.items() if key in fields})


def run_import(spec: ImportSpec, folder: Path, **options: Any) -> Report:
    """Import with a clock that stands still."""
    return import_customers(spec, folder, **{"clock": lambda: NOW, "timer": Timer(), **options})


def make_snapshot(folder: Path, rows: Iterable[Sequence[str]] = CUSTOMERS, **given: Any) -> Snapshot:
    """Give a snapshot of these rows, by the fields of ImportSpec that are given."""
    spec = import_spec(source=write_csv(folder / "customers.csv", rows), **given)
    run_import(spec, folder / "state")
    snapshot = open_snapshot(folder / "state", spec)
    assert snapshot is not None
    return snapshot


def open_snapshot(folder: Path, spec: ImportSpec, after: int = 0) -> Snapshot | None:
    """Open the newest one for a test, which need not say when it is done with it."""
    snapshot = open_newest(folder, spec.digest(), after)
    return kept(snapshot) if snapshot is not None else None


def kept(snapshot: Snapshot) -> Snapshot:
    """Close it when nothing holds it any more."""
    weakref.finalize(snapshot, snapshot._database.close).atexit = False
    return snapshot


def make_app(
    snapshot: Snapshot | None,
    secrets: Sequence[str] = (SECRET,),
    timer: Timer | None = None,
    *,
    clock: Callable[[], float] = lambda: NOW,
    rules: Rules | None = None,
    card: Card | None = None,
    template: CardTemplate | None = None,
    names_addresses: bool = False,
    protocol: HelpDesk | None = None,
    others: Sequence[HelpDesk] = (),
    ids: IdMap | None = None,
    **cache: float,
) -> SidebarApp:
    """Give an app that answers from `snapshot`."""
    sizes: dict[str, Any] = {"size": 100, "ttl": 60.0, "unknown_size": 100, "unknown_ttl": 10.0, **cache}
    cached = AnswerCache(**sizes, timer=timer or Timer())
    app = SidebarApp(
        "helpscout",
        [
            protocol or HelpScoutApp([one.encode() for one in secrets], vary=card.vary.names if card else ()),
            *others,
        ],
        cached,
        clock=clock,
        log_key=b"a log key",
        rules=rules,
        card=card or Card(template),
        names_addresses=names_addresses,
        ids=ids,
    )
    app.use(snapshot)
    return app


def sign(body: bytes, secret: str = SECRET) -> bytes:
    """Sign as Help Scout does."""
    return Secret(secret.encode()).sign(body)


def signed(body: bytes, signature: bytes | None = None) -> Message:
    """Make the request of a body: with this signature, or else the right one."""
    return Message(body, sign(body) if signature is None else signature)


def visit_for(page: QuerySigned, **parameters: object) -> Visit:
    """Make the visit of an agent's browser to a page; a parameter's "_" is a hyphen."""
    named = {name.replace("_", "-"): str(value) for name, value in parameters.items()}
    return Visit(page.signed_query(urlencode(named).encode()).encode())


def body_for(*emails: str, **more: object) -> bytes:
    """Give a message about a customer with these addresses."""
    customer = {"email": emails[0], "emails": list(emails)} if emails else {}
    return json.dumps({"ticket": {"id": "1", "number": "2"}, "customer": customer, **more}).encode()
