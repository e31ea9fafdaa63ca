"""The outcome table, and the page of the docs that shows it."""

import re
from pathlib import Path

import pytest

from appliance.outcomes import Outcome, Refusal

DOCS = Path(__file__).parents[2] / "docs" / "protocol.md"


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.name)
def test_a_refusal_is_a_fixed_sentence(refusal):
    reply = refusal.reply
    assert 400 <= reply.status < 600
    assert re.fullmatch(rb"[A-Z][ -~]+[.]\n", reply.body)


def test_docs_show_the_table():
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+?) \| (yes|no) \|$", DOCS.read_text("utf-8"), re.M)
    table = {(str(r.reply.status), r.reply.outcome, r.reply.body.decode().strip(), r.reply.closes) for r in Refusal}
    assert {(status, outcome, text, closes == "yes") for status, outcome, text, closes in rows} == table


def test_docs_name_every_outcome():
    text = DOCS.read_text("utf-8")
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in text] == []
