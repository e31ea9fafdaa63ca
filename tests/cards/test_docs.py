"""What docs/cards.md shows works as it stands there."""

import json
import re
from pathlib import Path

from appliance.bootstrap.wiring import card_of, import_spec_of
from appliance.config.loader import load
from appliance.outcomes import Outcome
from appliance.sidebar.protocols.base import Message
from tests.cards.html5 import seen
from tests.factory import body_for, make_app, open_snapshot, run_import, sign, write_csv

DOCS = (Path(__file__).parents[2] / "docs" / "cards.md").read_text("utf-8")
CUSTOMERS = (
    ("id", "name", "email", "plan", "status", "since", "ltv", "crm_id", "profile", "mrr"),
    ("7", "Ann", "ann@example.com", "Pro", "active", "2020-01-01", "9", "c7", "https://x.example/7", "12"),
)
ORDERS = (("customer_id", "number", "date", "total"), ("7", "123456", "2026-05-01", "59.7"))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.S)


def app_of(folder, *, template):
    """Return the app of all that the page has one do; with the built-in card if not `template`."""
    keys = [block for block in blocks("toml") if not block.startswith("[")]
    tables = [block for block in blocks("toml") if block.startswith("[")]
    assert [len(keys), len(tables)] == [2, 4]
    main, related, display, subject = tables
    wanted = [main, *keys[not template :], display, subject, related]
    (folder / "sidebard.toml").write_text("\n".join(wanted))
    (folder / "card.html").write_text("".join(blocks("html")))
    write_csv(folder / "customers.csv", CUSTOMERS)
    write_csv(folder / "orders.csv", ORDERS)
    settings = load(folder / "sidebard.toml", {"HOME": str(folder)})
    plan = import_spec_of(settings)
    run_import(plan, folder / "state")
    return make_app(open_snapshot(folder / "state", plan), card=card_of(settings, settings.apps[0]))


def ask(app, *emails, **more):
    body = body_for(*emails, **more)
    reply = app.answer(Message(body, sign(body)))
    assert (reply.outcome, reply.fault) == (Outcome.FOUND, "")
    return seen(json.loads(reply.response.body)["html"])


def test_the_template(tmp_path):
    app = app_of(tmp_path, template=True)
    card = ask(app, "ann@example.com", user={"role": "admin"})
    assert card.wrong == []
    for text in ("Customer since 1 Jan 2020", "Orders (1)", "123456: €59.70, 1 May 2026", "Revenue: €12.00"):
        assert text in card.text
    assert "Revenue" not in ask(app, "ann@example.com", user={"role": "user"}).text


def test_the_built_in_card(tmp_path):
    app = app_of(tmp_path, template=False)
    assert "Past orders (1)" in ask(app, "ann@example.com").text
    found = ask(app, ticket={"subject": "Re: #123456"}).text
    assert (
        "Matched by number 123456 in the subject, not by email address. Check that the sender is this customer."
        in found
    )
