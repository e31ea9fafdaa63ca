"""The check of a card says what agents would not see of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.running import context, run_check, told

REMOVED = '<h4>{{ customer.name }}</h4>\n<p style="color: red">x</p>\n<p\n onclick="x">y</p>'
EMPTY = "the card is empty, so agents see nothing; add content, or remove app.card"


def found(folder: Path, text: str, app: str = "") -> list[tuple[str, str]]:
    """Write a card, and return what is said of it without the name of its folder."""
    (folder / "card.html").write_text(text)
    result = run_check("card", context(folder, app=f'card = "card.html"\n{app}'))
    return [(status, said.replace(f"{folder}/", "")) for status, said in told(result)]


def test_what_help_scout_removes_is_a_warning_with_its_line(tmp_path: Path) -> None:
    assert found(tmp_path, REMOVED) == [
        ("warning", "card.html:2: Help Scout removes style=…; use classes, such as muted, badge or green"),
        (
            "warning",
            "card.html:4: Help Scout removes onclick=…; nothing runs in a card there, and only links can be clicked",
        ),
        ("ok", "card.html: tried on 6 customers"),
    ]


def test_it_is_said_even_if_there_are_no_customers(tmp_path: Path) -> None:
    where = context(tmp_path, app='card = "card.html"')
    (tmp_path / "card.html").write_text(REMOVED)
    (tmp_path / "customers.csv").unlink()
    assert [status for status, _ in told(run_check("card", where))] == ["warning", "warning", "not_checked"]


def test_free_scout_removes_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, REMOVED, 'signature_header = "X-FreeScout-Signature"') == [
        ("ok", "card.html: tried on 6 customers")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "\ufeff",
        "{# nothing #}",
        "{{ customer.name[:0] }}",
        "{% if customer.plan == 'x' %}y{% end %}",
        "<p></p>",
    ],
)
def test_a_card_that_shows_nothing(text: str, tmp_path: Path) -> None:
    ((status, said),) = found(tmp_path, text)
    assert (status, said.startswith(f"card.html: {EMPTY}")) == ("warning", True)


@pytest.mark.parametrize(
    "text",
    ["x", "{% if customer.plan == 'Free' %}y{% end %}", "{% if user.role == 'owner' %}y{% end %}", "&nbsp;x"],
    ids=["text", "for one", "for one role", "entity"],
)
def test_a_card_that_shows_something_to_somebody(text: str, tmp_path: Path) -> None:
    assert found(tmp_path, text, 'vary = ["user.role"]') == [("ok", "card.html: tried on 6 customers")]


def test_a_picture_is_something_for_free_scout_alone(tmp_path: Path) -> None:
    header = 'signature_header = "X-FreeScout-Signature"'
    assert found(tmp_path, "<img src=x>", header)[0][0] == "ok"
    assert [status for status, _ in found(tmp_path, "<img src=x>")] == ["warning", "warning"]


def test_a_card_that_fails_is_not_called_empty(tmp_path: Path) -> None:
    ((status, _said),) = found(tmp_path, "{{ customer.name + 1 }}")
    assert status == "fault"
