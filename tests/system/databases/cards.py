"""What the built-in card shows of a customer from a database."""

from __future__ import annotations

import json
import re
from pathlib import Path

from appliance.ingest.sources.database import DatabaseTable
from appliance.ingest.spec import ImportSpec
from tests.factory import body_for, make_app, open_snapshot, run_import, signed


def on_the_card(table: DatabaseTable, folder: Path) -> dict[str, str]:
    """Return the HTML of each value of ann@example.com, but for the address, by its label in small letters."""
    spec = ImportSpec(source=table)
    run_import(spec, folder)
    card = json.loads(make_app(open_snapshot(folder, spec)).answer(signed(body_for("ann@example.com"))).response.body)
    shown = dict(re.findall(r"label\">([^<]*)<span [^>]*>(.*?)</span></span></li>", card["html"]))
    return {name.lower(): text for name, text in shown.items() if name != "Email"}
