"""How names of columns are compared and shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.column_name import clean_name, name_key, shown_name
from appliance.customers.record import Columns

SAME_AS_LAST_ORDER = {
    "case": "LAST ORDER",
    "spaces around": "  Last order\t",
    "two spaces": "Last  order",
    "a no-break space": "Last\u00a0order",
    "a narrow space": "Last\u202forder",
    "an ideographic space": "Last\u3000order",
    "a line end": "Last\norder",
    "a Windows line end": "Last \r\n order",
    "a tab": "Last\torder",
    "a byte order mark": "\ufeffLast order",
    "two byte order marks": "\ufeff\ufeffLast order",
    "a zero-width space": "Last order\u200b",
    "a zero-width space within": "La\u200bst order",
    "a soft hyphen": "La\u00adst order",
    "a mark of direction": "\u200eLast order\u200f",
    "a word joiner": "Last\u2060 order",
    "a control character": "Last order\x7f",
    "a character of private use": "\ue000Last order",
}


@pytest.mark.parametrize("name", SAME_AS_LAST_ORDER.values(), ids=SAME_AS_LAST_ORDER.keys())
def test_is_the_same_name(name):
    assert name_key(name) == "last order"
    columns = Columns(["email", name])
    assert columns.find_index("last order") == columns.find_index(name) == 1
    assert clean_name(name).isprintable()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_pieces_of_letters(form):
    name = unicodedata.normalize(form, "Größe für Ärzte")
    assert clean_name(name) == "Größe für Ärzte"
    assert Columns([name]).find_index(unicodedata.normalize("NFD", "GRÖSSE FÜR ÄRZTE")) == 0


@pytest.mark.parametrize("name", ["lastorder", "last-order", "last_order", "ｌast order", "lаst order", "last orders"])
def test_is_another_name(name):
    assert name_key(name) != "last order"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("email", '"email"'),
        ("Größe", '"Größe"'),
        ("Имя", '"Имя"'),
        ("όνομα", '"όνομα"'),
        ("名前", '"名前"'),
        ("еmаil", '"еmаil" (U+0435, U+0430)'),
        ("nαme", '"nαme" (U+03B1)'),
        ("ｎａｍｅ", '"ｎａｍｅ" (U+FF4E, U+FF41, U+FF4D, U+FF45)'),
        ("𝐧ame", '"𝐧ame" (U+1D427)'),
    ],
)
def test_a_message_tells_look_alikes_apart(name, shown):
    assert shown_name(name) == shown


@given(st.text(max_size=12))
def test_cleaning_and_comparing_are_stable(name):
    cleaned = clean_name(name)
    assert clean_name(cleaned) == cleaned
    assert name_key(cleaned) == name_key(name) == name_key(name_key(name))
    assert "  " not in cleaned


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=4))
def test_no_message_shows_two_names_alike(names):
    """What is shown alike is one name."""
    shown = {}
    for name in map(clean_name, names):
        assert shown.setdefault(shown_name(name), name_key(name)) == name_key(name)
