"""Columns and records."""

import pytest

from appliance.customers.record import ColumnError, Columns, Record, Rows, attribute_of, fields_of

COLUMNS = Columns([" id", "Last Order ", "items", "2nd phone"])
RECORD = Record(COLUMNS, ("7", "#20481", "3", "555"), {"orders": Rows([Record(Columns(["n"]), ("1",))])})


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("plan", "plan"),
        ("Last Order", "last_order"),
        ("ltv ($)", "ltv_"),
        ("2nd phone", "_2nd_phone"),
        ("Größe", "größe"),
        ("Имя", "имя"),
        ("blob_", "blob_"),
        ("?", "_"),
    ],
)
def test_attribute(name, attribute):
    assert attribute_of(name) == attribute


def test_values_by_attribute_and_by_name():
    assert (RECORD.last_order, RECORD["Last Order"], RECORD["LAST ORDER"]) == ("#20481",) * 3
    assert RECORD.items == "3"  # no method of ours hides a column
    assert RECORD._2nd_phone == "555"
    assert RECORD.orders[0].n == "1"
    assert list(fields_of(RECORD)) == [("id", "7"), ("Last Order", "#20481"), ("items", "3"), ("2nd phone", "555")]


def test_what_is_not_there():
    with pytest.raises(AttributeError, match='no column "pln"'):
        _ = RECORD.pln
    with pytest.raises(KeyError):
        RECORD["pln"]


def test_a_record_does_not_show_itself():
    assert "20481" not in repr(RECORD)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a", ""], "column 2 of the header has no name; name it or remove it"),
        (["Email", "x", "email "], 'the header has "email" twice, as columns 1 and 3; rename one of them'),
        (
            ["last order", "last-order"],
            'columns "last order" and "last-order" would both be "last_order" in a card; rename one of them',
        ),
    ],
    ids=["no name", "one name twice", "one attribute twice"],
)
def test_clashes(names, sentence):
    with pytest.raises(ColumnError) as caught:
        Columns(names)
    assert str(caught.value) == sentence
