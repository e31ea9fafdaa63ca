"""The outcome table, and the page of the docs that shows it."""

import re
from pathlib import Path

import pytest

from appliance.edge.refusals import Refusal
from appliance.outcomes import Outcome
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE

DOCS = Path(__file__).parents[1] / "docs" / "protocol.md"


REFUSALS = (BAD_SIGNATURE, BAD_PAYLOAD, *(refusal.reply for refusal in Refusal))


@pytest.mark.parametrize("reply", REFUSALS, ids=lambda reply: reply.response.body.decode().strip())
def test_a_refusal_is_a_fixed_sentence(reply):
    assert 400 <= reply.response.status < 600
    assert re.fullmatch(rb"[A-Z][ -~]+[.]\n", reply.response.body)


def test_docs_show_the_table():
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+?) \| (yes|no) \|$", DOCS.read_text("utf-8"), re.M)
    table = {
        (str(one.response.status), one.outcome, one.response.body.decode().strip(), one.response.closes)
        for one in REFUSALS
    }
    assert {(status, outcome, text, closes == "yes") for status, outcome, text, closes in rows} == table


def test_docs_name_every_outcome():
    text = DOCS.read_text("utf-8")
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in text] == []
