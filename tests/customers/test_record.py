"""Columns and records."""

import pytest

from appliance.customers.record import ColumnError, Columns, Record, Rows, attribute_of, fields_of, record_maker

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


MADE = record_maker(COLUMNS)(("7", "#20481", "3", "555"), {"orders": RECORD.orders})


@pytest.mark.parametrize("record", [RECORD, MADE], ids=["record", "with slots"])
def test_values_by_attribute_and_by_name(record):
    assert (record.last_order, record["Last Order"], record["LAST ORDER"]) == ("#20481",) * 3
    assert record.items == "3"  # no method of ours hides a column
    assert record._2nd_phone == "555"
    assert record.orders[0].n == "1"
    assert list(fields_of(record)) == [("id", "7"), ("Last Order", "#20481"), ("items", "3"), ("2nd phone", "555")]


SPECIAL = ("__class__", "__init__", "__getattr__", "__slots__", "__module__", "__del__", "__len__", "__classcell__")
NAMES = (*SPECIAL, "_values", "_related", "class", "new", "record", "_", "größe", "x")


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_any_name_shows_what_it_shows_without_slots(name):
    """A slot must not stand in the way of what a record itself needs."""
    columns, values = Columns(NAMES), tuple(f"of {one}" for one in NAMES)
    plain, made = Record(columns, values), record_maker(columns)(values)
    assert made[name] == plain[name] == f"of {name}"
    assert (getattr(made, name) == f"of {name}") is (getattr(plain, name) == f"of {name}")
    assert made  # __len__ is a column


@pytest.mark.parametrize("values", [(), ("7", "#20481", "3"), ("7", "#20481", "3", "555", "")])
def test_no_record_is_made_of_another_number_of_values(values):
    with pytest.raises(ValueError, match="values to unpack"):
        record_maker(COLUMNS)(values)


def test_a_record_without_columns():
    assert list(fields_of(record_maker(Columns(()))(()))) == []


@pytest.mark.parametrize("record", [RECORD, MADE], ids=["record", "with slots"])
def test_what_is_not_there(record):
    with pytest.raises(AttributeError, match='no column "pln"'):
        _ = record.pln
    with pytest.raises(KeyError):
        record["pln"]


@pytest.mark.parametrize("record", [RECORD, MADE], ids=["record", "with slots"])
def test_a_record_does_not_show_itself(record):
    assert repr(record) == "<Record>"


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
