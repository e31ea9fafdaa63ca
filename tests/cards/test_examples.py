"""The examples in conf/cards: every sample customer's card, as an agent gets it."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.bootstrap.column_faults import column_faults
from appliance.bootstrap.wiring import card_of, import_spec_of
from appliance.cards.template_check import faults_of
from appliance.config.loader import load
from appliance.outcomes import Outcome
from appliance.sidebar.protocols.base import Message
from tests.cards.html5 import seen
from tests.factory import body_for, make_app, open_snapshot, run_import, sign

EXAMPLES = Path(__file__).parents[2] / "conf" / "cards"
GOLDEN = Path(__file__).parent / "examples"
NOW = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)


class Example:
    """One example, imported."""

    def __init__(self, name: str, folder: Path) -> None:
        self.settings = load(EXAMPLES / name / "sidebard.toml", {"HOME": str(folder)})
        plan = import_spec_of(self.settings)
        run_import(plan, folder / name)
        self.snapshot = open_snapshot(folder / name, plan)
        self.card = card_of(self.settings, self.settings.apps[0])
        self.app = make_app(self.snapshot, card=self.card, clock=NOW.timestamp)

    def ask(self, email: str, role: str = "admin", subject: str = "Hello") -> tuple[str, Outcome]:
        """Return the card that an agent gets, and its outcome."""
        body = body_for(email, user={"id": 1, "role": role}, ticket={"id": 1, "subject": subject})
        reply = self.app.answer(Message(body, sign(body)))
        assert reply.fault == ""
        return json.loads(reply.response.body)["html"], reply.outcome


NAMES = sorted(folder.name for folder in EXAMPLES.iterdir())
CUSTOMERS = [
    (name, row["email"])
    for name in NAMES
    for row in csv.DictReader((EXAMPLES / name / "customers.csv").read_text("utf-8").splitlines())
]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Example]:
    folder = tmp_path_factory.mktemp("examples")
    return {name: Example(name, folder) for name in NAMES}


@pytest.mark.parametrize(("name", "email"), CUSTOMERS)
def test_every_sample_customer(name: str, email: str, examples: dict[str, Example]) -> None:
    html, outcome = examples[name].ask(email)
    assert outcome is Outcome.FOUND
    assert seen(html).wrong == []
    lines = "\n".join(line.strip() for line in html.splitlines() if line.strip())
    assert lines + "\n" == (GOLDEN / name / f"{email}.html").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_with_it(name: str, examples: dict[str, Example]) -> None:
    one = examples[name]
    assert one.card.template is not None
    assert one.snapshot is not None
    facts = one.snapshot.metadata
    records = one.snapshot.sample(100)
    faults = faults_of(one.card.template, records, facts.relations, vary=one.card.vary, as_of=NOW, now=NOW)
    assert (faults, column_faults(one.settings, facts)) == ((), ())


@pytest.mark.parametrize("role", ["user", ""])
def test_only_some_agents_see_money(role: str, examples: dict[str, Example]) -> None:
    assert "$" not in examples["saas"].ask("grace@example.org", role)[0]


@pytest.mark.parametrize(
    ("name", "subject", "found"),
    [
        ("shop", "Where is my order 20402?", "Matched by order 20402 in the subject"),
        ("shop", "AW: Bestellung 20402", "Matched by order 20402 in the subject"),
        ("shop", "Re: #20402", "Matched by order 20402 in the subject"),
        ("shop", "20402", None),
        ("licences", "Renewal of 9zzt-1pqr-55ab", "Matched by licence key 9zzt-1pqr-55ab in the subject"),
        ("licences", "9ZZT-1PQR", None),
    ],
)
def test_who_is_found_by_the_subject(name: str, subject: str, found: str | None, examples: dict[str, Example]) -> None:
    html, outcome = examples[name].ask("somebody@example.net", subject=subject)
    assert (outcome is Outcome.FOUND) is (found is not None)
    assert (found or "Not a customer") in html
