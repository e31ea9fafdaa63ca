"""The check of pages: whom they can find, and what they do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.running import context, run_check, told
from tests.factory import write_csv

COLUMN = '[helpscout]\ncolumn = "HS id"\n'


def found(folder: Path, *ids: str, more: str = COLUMN, app: str = "[app.page]") -> list[tuple[str, str]]:
    """Return what is said of customers with these ids."""
    where = context(folder, more=more, app=app)
    rows = [(f"a{number}@example.com", each) for number, each in enumerate(ids)]
    write_csv(folder / "customers.csv", [("email", "hs id"), *rows])
    return told(run_check("page", where))


def test_no_app_has_a_page(tmp_path: Path) -> None:
    assert found(tmp_path, "1", more="", app="") == [("ok", "no app has a page")]


def test_everything_is_there(tmp_path: Path) -> None:
    assert found(tmp_path, "604417723", " 7 ", "") == [
        ("ok", "helpscout: GET /helpscout is the page"),
        ("ok", 'column "HS id": 2 of the first 3 customers have an id'),
    ]


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (
            ("604417723.0", "5"),
            "with a decimal point or in a short form, as a spreadsheet writes them",
        ),
        (("6.04417723E8",), "with a decimal point or in a short form"),
        (
            ("cus_123", "cus_124"),
            "0 of the first 2 customers have one of Help Scout's ids, which are whole",
        ),
        (("", ""), "0 of the first 2 customers have one of Help Scout's ids"),
    ],
    ids=["decimals", "exponents", "ids of another program", "none"],
)
def test_a_column_that_holds_no_ids(ids: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    [_, (status, said)] = found(tmp_path, *ids)
    assert (status, sentence in said) == ("warning", True), said
    assert "604417723" not in said
    assert "cus_" not in said


def test_a_page_without_a_column_that_asks_the_inbox_api(tmp_path: Path) -> None:
    api = '[helpscout]\napi_id = "file:id"\napi_secret = "file:api-secret"\n'
    assert found(tmp_path, "1", more=api) == [("ok", "helpscout: GET /helpscout is the page")]


def test_a_page_without_a_column(tmp_path: Path) -> None:
    [_, (status, said)] = found(tmp_path, "1", more="")
    assert (status, "set helpscout.column to the customers' column that holds the id" in said) == ("warning", True)


def test_a_column_without_a_page(tmp_path: Path) -> None:
    [(status, said)] = found(tmp_path, "1", app="")
    assert (status, "add [app.page] below its [[app]], or remove the column" in said) == ("warning", True)


def test_what_a_page_does_not_know(tmp_path: Path) -> None:
    app = 'vary = ["user.role", "mailbox.id", "ticket.subject"]\n[app.page]'
    assert found(tmp_path, "1", app=app)[0] == (
        "warning",
        'helpscout: a page does not know user.role, ticket.subject, so that is "" in its card; in that case let the'
        " card show only what everybody may see",
    )


def test_customers_that_cannot_be_read(tmp_path: Path) -> None:
    where = context(tmp_path, more=COLUMN, app="[app.page]")  # customers without such a column
    assert told(run_check("page", where))[1] == (
        "not_checked",
        "the customers were not read, so the ids were not checked",
    )


def test_the_secret_of_a_page_is_checked_and_protected(tmp_path: Path) -> None:
    where = context(tmp_path, app='secrets = ["file:secret"]\n[app.page]\nsecrets = ["file:page-secret"]')
    [_, (status, said)] = told(run_check("secrets", where))
    assert (status, "app[0].page.secrets: file:page-secret cannot be read" in said) == ("fault", True), said
    (tmp_path / "page-secret").write_text("another secret of the tests\n\n")
    (tmp_path / "page-secret").chmod(0o644)
    [_, (status, said)] = told(run_check("secrets", where))
    assert (status, "page-secret" in said) == ("warning", True)
    assert "page-secret" in " ".join(said for _, said in told(run_check("permissions", where)))
