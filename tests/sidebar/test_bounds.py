"""What a hostile export or message can cost: every size has a bound, and work is counted in steps."""

import json
from datetime import UTC, datetime

import pytest

from appliance.cards import builtin
from appliance.cards.layout import Layout
from appliance.cards.markup import MAX_CARD, MAX_TEXT, href_of
from appliance.cards.template import MAX_VALUES, CardTemplate, TemplateError
from appliance.config.schema import Display
from appliance.customers import address_cell
from appliance.customers.address_reader import AddressReader
from appliance.customers.record import Columns, Record, Rows
from appliance.customers.snapshot import MAX_FOUND, MAX_JOIN_KEYS, Relation, Snapshot, related_keys
from appliance.customers.snapshot_store import open_newest
from appliance.ingest.encode import MAX_ROW
from appliance.outcomes import Outcome, Response
from appliance.sidebar.answer_cache import PLACE, CachedAnswer
from appliance.sidebar.protocols import helpscout_app
from appliance.sidebar.protocols.base import Message
from appliance.sidebar.protocols.helpscout_app import MAX_EMAILS
from tests.cards.html5 import seen
from tests.factory import NOW, body_for, import_spec, make_app, make_snapshot, related_spec, run_import, sign, write_csv

WORST = "<\"'&>" * 30_000  # each character becomes five or six of HTML
WIDE = "ä" * 3000
SLACK = 1000  # the note at the end, and tags that are closed
AS_OF = datetime.fromtimestamp(NOW, UTC)


def counted(monkeypatch, module, name):
    """Count the calls of a module's function."""
    calls = []
    function = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: calls.append(given) or function(*given, **named))
    return calls


# Cells


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        pytest.param("x" * MAX_TEXT, "x" * MAX_TEXT, id="the longest that is shown whole"),
        pytest.param("x" * (MAX_TEXT + 1), "x" * MAX_TEXT + "…", id="one character more"),
        pytest.param(" " * 9 + "x" * MAX_TEXT + " " * 9, "x" * MAX_TEXT, id="white space around it does not count"),
        pytest.param(WIDE, "ä" * MAX_TEXT + "…", id="characters and not bytes"),
        pytest.param("<" * 3000, "&lt;" * MAX_TEXT + "…", id="cut before it is escaped"),
        pytest.param("https://x.example/" + "a" * 3000, None, id="a URL is no link to another page"),
        pytest.param("ann@example.com" * 300, None, id="addresses"),
    ],
)
@pytest.mark.parametrize("place", ["customer", "related row", "heading"])
def test_a_long_cell_is_cut(cell, shown, place):
    relation = Relation("orders", ("note",), on="id", by_address=False, key="id")
    row = Record(Columns(["note"]), [cell])
    names = {"customer": ("id", "note"), "related row": ("id", "other"), "heading": ("name",)}[place]
    values = {"customer": ["7", cell], "related row": ["7", ""], "heading": [cell]}[place]
    related = {"orders": Rows([row])} if place == "related row" else {}
    relations = [relation] if related else []
    html = builtin.found([Record(Columns(names), values, related)], Layout(names, relations))
    assert "<a " not in html
    assert (cell.strip()[:MAX_TEXT] + "…" if shown is None else shown) in html
    assert len(html) < 6 * MAX_TEXT + SLACK


@pytest.mark.parametrize(
    ("url", "is_link"),
    [("https://x.example/" + "a" * (MAX_TEXT - 18), True), ("https://x.example/" + "a" * (MAX_TEXT - 17), False)],
    ids=["the longest", "one character more"],
)
def test_a_link_has_a_bounded_length(url, is_link):
    assert (href_of(url) is not None) is is_link


def test_a_long_cell_is_no_part_of_a_link():
    names = ("id", "name")
    layout = Layout(names, display=Display(links=(("id", "https://x.example/{name}"),)))
    assert 'href="https://x.example/Ann"' in builtin.found([Record(Columns(names), ["7", "Ann"])], layout)
    assert "<a " not in builtin.found([Record(Columns(names), ["7", "a" * (MAX_TEXT + 1)])], layout)


# Cards


def hostile(case):
    """Return the customers and layout of one way to make a card as large as it can be."""
    columns, rows, customers = {
        "long cells": (20, 0, 20),
        "many columns": (5000, 0, 1),
        "many customers": (500, 0, 20),
        "many related rows": (1, 3000, 1),
        "related rows of every customer": (2, 500, 20),
        "wide related rows": (1, 3, 1),
    }[case]
    names = tuple(f"column {n}" for n in range(columns))
    fields = tuple(f"field {n}" for n in range(3000 if case == "wide related rows" else 3))
    relation = Relation("orders", fields, on="column 0", by_address=False, key="none")
    row = Record(Columns(fields), [WORST] * len(fields))
    related = {"orders": Rows([row] * rows)} if rows else {}
    record = Record(Columns(names), [WORST] * columns, related)
    return [record] * customers, Layout(names, [relation] if rows else [])


CASES = ("long cells", "many columns", "many customers", "many related rows", "related rows of every customer",
         "wide related rows")  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_built_in_card_has_a_bounded_size_and_says_what_is_missing(case):
    records, layout = hostile(case)
    html = builtin.found(records, layout)
    assert MAX_CARD / 2 < len(html) < MAX_CARD + 6 * MAX_TEXT + SLACK
    assert "There is more than fits in a card: the rest is left out." in html
    assert "<h4>" in html
    assert seen(html)  # what is open is closed


def test_a_card_that_fits_says_nothing_of_it():
    names = ("id", "name")
    assert "more than fits" not in builtin.found([Record(Columns(names), ["7", "Ann"])], Layout(names))


def test_the_work_for_a_card_ends_with_its_room(monkeypatch):
    """Cells that nobody will see are not made HTML."""
    made = counted(monkeypatch, builtin, "two_line_item")
    builtin.found(*hostile("many columns"))
    builtin.found(*hostile("many related rows"))
    builtin.found(*hostile("related rows of every customer"))
    assert len(made) < 3 * 2 * MAX_CARD / MAX_TEXT


@pytest.mark.parametrize(
    ("text", "cell", "said"),
    [
        pytest.param(
            "{% for n in range(40) %}{{ customer.note }}{% end %}",
            "x" * 8000,
            "card.html: the card has 320,000 characters, and at most 262,144 are sent; show fewer rows, or less of"
            " long columns",
            id="too much is shown",
        ),
        pytest.param(
            "{{ customer.id }}",
            "x" * MAX_VALUES,
            "card.html: these customers hold more than 1,048,576 characters; shorten their columns in the export",
            id="too much could be shown",
        ),
    ],
)
def test_a_template_has_a_bounded_card(text, cell, said):
    template = CardTemplate(text, "card.html")
    customer = Record(Columns(["id", "note"]), ["7", cell])
    with pytest.raises(TemplateError) as fault:
        template.render([customer], ("ann@example.com",), AS_OF, lambda: AS_OF)
    assert str(fault.value) == said


def test_a_template_that_shows_just_enough():
    template = CardTemplate("{{ customer.note }}", "card.html")
    customer = Record(Columns(["note"]), ["x" * MAX_CARD])
    assert len(template.render([customer], (), AS_OF, lambda: AS_OF)) == MAX_CARD


def test_related_rows_count_as_what_a_template_could_show():
    order = Record(Columns(["note"]), ["x" * (MAX_VALUES // 2)])
    customer = Record(Columns(["id"]), ["7"], {"orders": Rows([order, order])})
    with pytest.raises(TemplateError, match="hold more than"):
        CardTemplate("7", "card.html").render([customer], (), AS_OF, lambda: AS_OF)


def test_a_template_that_shows_too_much_leaves_the_built_in_card(tmp_path):
    snapshot = make_snapshot(tmp_path, [("email", "note"), ("ann@example.com", "x" * 60_000)])
    app = make_app(snapshot, template=CardTemplate("{{ customer.note * 5 }}", "card.html"))
    body = body_for("ann@example.com")
    reply = app.answer(Message(body, sign(body)))
    assert (reply.outcome, "at most 262,144" in reply.fault) == (Outcome.CARD_FAULT, True)
    assert "ann@example.com" in json.loads(reply.response.body)["html"]


# The cache


@pytest.mark.parametrize(("size", "weight"), [(0, 1), (PLACE - 1, 1), (PLACE, 2), (MAX_CARD, 1 + MAX_CARD // PLACE)])
def test_an_answer_takes_places_by_its_size(size, weight):
    response = Response(200, b"x" * size, "text/html")
    assert CachedAnswer(Outcome.FOUND, response).weight == weight


def test_large_cards_push_each_other_out(tmp_path):
    """6,000 customers with 20 KB of notes each took 377 MB."""
    rows = [("email", *(f"n{n}" for n in range(10))), *((f"a{n}@example.com", *["x" * 1900] * 10) for n in range(12))]
    app = make_app(make_snapshot(tmp_path, rows), size=20)
    for number in range(12):
        body = body_for(f"a{number}@example.com")
        app.answer(Message(body, sign(body)))
    hits = [
        app.answer(Message(body, sign(body))).cache for body in [body_for(f"a{n}@example.com") for n in (11, 10, 9, 8)]
    ]
    assert hits == ["hit", "hit", "hit", "miss"]  # 20 KB each: six places of twenty


# Messages and cells of many addresses


@pytest.mark.parametrize(
    "values",
    [[{}] * 80_000, [[]] * 100_000, [7, "ann@example.com"] * 40_000, {str(n): {} for n in range(40_000)}],
    ids=["objects", "lists", "numbers between addresses", "an object of objects"],
)
def test_few_of_very_many_wrong_emails_are_read(values, monkeypatch):
    """80,000 empty objects took 165 ms of the event loop."""
    read = counted(monkeypatch, helpscout_app, "_text")
    message = helpscout_app.decode(json.dumps({"customer": {"id": 7, "emails": values}}).encode())
    assert len(read) == MAX_EMAILS
    assert message.customer is not None
    assert message.customer.id == 7


def test_an_address_behind_wrong_emails_is_found():
    emails = [*[None, 7, {}] * 100, "ann@example.com"]
    message = helpscout_app.decode(json.dumps({"customer": {"emails": emails}}).encode())
    assert message.customer is not None
    assert message.customer.emails == ("ann@example.com",)


@pytest.mark.parametrize("between", [" ", "; ", ",", "\n"])
def test_a_cell_of_many_addresses_is_read_once(between, monkeypatch):
    """11,000 addresses in a cell took 1.1 s: each was looked for in a list of those before it."""
    compared = []

    class Address(str):
        __slots__ = ()

        def __eq__(self, other):
            compared.append(1)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    monkeypatch.setattr(address_cell, "normalise", lambda text: None if between in text else Address(text))
    addresses = [f"a{n}@example.com" for n in range(3000)]
    found = AddressReader(["email"], Columns(["email"]), fold_plus=False).read([[between.join(addresses * 2)]])
    assert [found.main[0], *(address for _, address in found.more)] == addresses
    assert len(compared) < 10 * len(addresses)


@pytest.mark.parametrize("cell", [" ".join(f"a{n}@example.com" for n in range(9000)), "a@example.com " * 9000])
def test_related_rows_are_found_by_the_first_addresses_alone(cell, monkeypatch):
    relation = Relation("orders", ("mail",), on="email", by_address=True, key="mail")
    keys = related_keys(cell, relation, MAX_JOIN_KEYS)
    assert keys == related_keys(cell, relation)[:MAX_JOIN_KEYS]


def test_no_more_texts_are_read_than_keys_are_wanted(monkeypatch):
    read = counted(monkeypatch, address_cell, "normalise")
    relation = Relation("orders", ("mail",), on="email", by_address=True, key="mail")
    related_keys(" ".join(f"a{n}@exämple.com" for n in range(9000)), relation, MAX_JOIN_KEYS)
    assert len(read) <= MAX_JOIN_KEYS


def test_a_look_up_ends_when_more_are_found_than_a_card_shows(tmp_path, monkeypatch):
    """Fifty addresses of twenty customers each: a thousand rows would be read to show twenty."""
    addresses = [f"shared{n}@example.com" for n in range(50)]
    rows = [("email", "name"), *((address, f"{n}") for address in addresses for n in range(MAX_FOUND))]
    snapshot = make_snapshot(tmp_path, rows)
    read = []
    record = Snapshot._record
    monkeypatch.setattr(Snapshot, "_record", lambda self, values: read.append(values) or record(self, values))
    assert len(snapshot.find(tuple(addresses))) == MAX_FOUND + 1
    assert len(read) <= 2 * MAX_FOUND + 1


# Imports


def test_a_row_that_is_too_large_is_a_bad_row(tmp_path):
    columns = ["email", *(f"n{n}" for n in range(12))]
    large = ["ann@example.com", *["x" * 100_000] * 12]
    small = ["bob@example.com", *[""] * 12]
    source = write_csv(tmp_path / "c.csv", [columns, *[small] * 200, large, small])
    plan = import_spec(source=source)
    report = run_import(plan, tmp_path / "state")
    assert [(bad.line, bad.why) for bad in report.bad] == [
        (202, f"this row has more than {MAX_ROW:,} characters; shorten its columns in the export")
    ]
    snapshot = open_newest(tmp_path / "state", plan.digest())
    assert snapshot is not None
    assert (snapshot.find(("ann@example.com",)), snapshot.metadata.rows) == ((), 201)
    snapshot.close()


def test_a_related_row_that_is_too_large_is_a_bad_row(tmp_path):
    source = write_csv(tmp_path / "c.csv", [("email", "id"), ("ann@example.com", "7")])
    columns = ["id", *(f"n{n}" for n in range(12))]
    rows = [columns, *[["7", *[""] * 12]] * 200, ["7", *["x" * 100_000] * 12]]
    orders = related_spec(name="orders", source=write_csv(tmp_path / "o.csv", rows), table="", key="id", on="id")
    report = run_import(import_spec(source=source, related=(orders,)), tmp_path / "state")
    assert [(bad.file.endswith("o.csv"), bad.line) for bad in report.bad] == [(True, 202)]
