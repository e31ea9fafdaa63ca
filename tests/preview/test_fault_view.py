"""Faults as the page shows them."""

from pathlib import Path

import pytest

from appliance.preview.fault_view import SourceLine, view_fault


@pytest.fixture
def card(tmp_path):
    file = tmp_path / "card.html"
    file.write_text("one\ntwo\nthree\nfour\nfive\nsix\n")
    return file


def test_a_line_of_the_template_is_quoted_with_those_around(card):
    shown = view_fault(f"{card}:3: this is not Python", card)
    assert (shown.place, shown.what) == ("card.html:3", "this is not Python")
    assert [(line.number, line.text) for line in shown.lines] == [
        (1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five")
    ]  # fmt: skip
    assert [line.number for line in shown.lines if line.faulty] == [3]


def test_a_fault_of_the_rendering_names_no_folder(card):
    assert view_fault("card.html:1: KeyError", card).lines[0] == SourceLine(1, "one", faulty=True)


@pytest.mark.parametrize(
    ("sentence", "place", "what"),
    [
        ("/etc/sidebard.toml:7: app[0].secrets: required", "sidebard.toml:7", "app[0].secrets: required"),
        ("/data/customers.csv:12: has two columns", "customers.csv:12", "has two columns"),
        ("other/card.html:2: KeyError", "card.html:2", "KeyError"),
        ("customers.csv does not exist: nothing", "", "customers.csv does not exist: nothing"),
        ("", "", ""),
    ],
)
def test_nothing_else_is_quoted(card, sentence, place, what):
    shown = view_fault(sentence, card)
    assert (shown.place, shown.what, shown.lines) == (place, what, ())


def test_a_template_that_is_gone_is_not_quoted():
    assert view_fault("card.html:2: KeyError", Path("/nowhere/card.html")).lines == ()
