"""The search over the customers."""

import pytest

from appliance.preview.customer_search import SHOWN, search
from tests.factory import import_spec, make_snapshot

ROWS = (
    ("id", "name", "email", "notes"),
    ("1", "Ann Lee", "ann@example.com;Lee@Example.org", 'says "hi", often'),
    ("2", "Jürgen Müller", "juergen@example.com", "100% sure_thing"),
    ("3", "山田 太郎", "taro@example.jp", "back\\slash"),
    ("4", "Without Address", "", ""),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["Ann Lee", "Jürgen Müller", "山田 太郎"]),
        ("ANN", ["Ann Lee"]),
        ("lee@example.org", ["Ann Lee"]),
        ("  LEE@EXAMPLE.ORG ", ["Ann Lee"]),
        ("müller", ["Jürgen Müller"]),
        ("MÜLLER", ["Jürgen Müller"]),
        ("Mu\u0308ller", ["Jürgen Müller"]),
        ("ü", ["Jürgen Müller"]),
        ("山田", ["山田 太郎"]),
        ("example.com jürgen", ["Jürgen Müller"]),
        ("ann müller", []),
        ('"hi"', ["Ann Lee"]),
        ('","', []),
        ("100%", ["Jürgen Müller"]),
        ("1%s", []),
        ("e_t", ["Jürgen Müller"]),
        ("e_T", ["Jürgen Müller"]),
        ("k\\s", ["山田 太郎"]),
        ("without", []),
        ("x" * 1000, []),
        ("\x00", []),
    ],
)
def test_every_word_is_looked_for_in_every_column(tmp_path, text, names):
    plan = import_spec(source=tmp_path / "customers.csv")
    matches = search(make_snapshot(tmp_path, ROWS), plan, text)
    assert [match.name for match in matches] == names


def test_the_addresses_are_in_normal_form(tmp_path):
    (ann,) = search(make_snapshot(tmp_path, ROWS), import_spec(source=tmp_path / "customers.csv"), "ann")
    assert ann.addresses == ("ann@example.com", "lee@example.org")


def test_only_so_many_are_given(tmp_path):
    rows = [("name", "email"), *((f"Name {number}", f"n{number}@example.com") for number in range(50))]
    snapshot, plan = make_snapshot(tmp_path, rows), import_spec(source=tmp_path / "customers.csv")
    assert len(search(snapshot, plan, "name")) == SHOWN
    assert [match.name for match in search(snapshot, plan, "n49@example.com")] == ["Name 49"]
