"""The check of the customers compares them with the last good copy, as an import would."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.checks.context import CheckContext
from appliance.checks.finding import Status
from appliance.ingest import dry_run
from appliance.ingest.spec import ImportRefused
from tests.checks.running import context, only, run_check, told
from tests.factory import run_import, write_csv
from tests.permissions import open_to_others

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")
RELATED = '[related.orders]\nsource = "orders.csv"\nkey = "email"\non = "email"'


def write(folder: Path, customers: int, orders: int) -> None:
    write_csv(folder / "customers.csv", [("email",), *((f"a{number}@example.com",) for number in range(customers))])
    write_csv(folder / "orders.csv", [("email", "number"), *(("a1@example.com", f"{n}") for n in range(orders))])


def imported(folder: Path, customers: int, orders: int, more: str = "", **parts: Any) -> CheckContext:
    """Import 100 of each, then write so many."""
    where = context(folder, more=RELATED, customers=more, **parts)
    write(folder, 100, 100)
    run_import(where.spec, snapshot_folder(where.settings))
    write(folder, customers, orders)
    return where


@pytest.mark.parametrize(
    ("customers", "orders", "sentence"),
    [
        pytest.param(
            29,
            100,
            "customers.csv shrank by 71%, from 100 to 29 customers, and customers.max_shrink allows 20%; if intended,"
            " raise it for one import",
            id="customers",
        ),
        pytest.param(100, 79, "orders.csv shrank by 21%, from 100 to 79 rows", id="related rows"),
        pytest.param(80, 80, "", id="just not too few"),
        pytest.param(100, 101, "", id="more"),
    ],
)
def test_a_file_that_shrank_is_a_fault_in_the_words_of_an_import(
    customers: int, orders: int, sentence: str, tmp_path: Path
) -> None:
    where = imported(tmp_path, customers, orders)
    finding = only(run_check("customers", where))
    if not sentence:
        assert finding.status is Status.OK
        return
    assert (finding.status, sentence in finding.sentence) == (Status.FAULT, True)
    with pytest.raises(ImportRefused) as caught:
        run_import(where.spec, snapshot_folder(where.settings))
    assert str(caught.value) == finding.sentence


def test_what_may_shrink_is_compared_with_what_the_config_allows(tmp_path: Path) -> None:
    assert only(run_check("customers", imported(tmp_path, 1, 1, 'max_shrink = "100%"'))).status is Status.OK


def test_a_copy_made_by_another_config_is_not_compared(tmp_path: Path) -> None:
    imported(tmp_path, 29, 100)
    other = context(tmp_path, more=RELATED, customers="plus_addressing = true")
    write(tmp_path, 29, 100)
    assert only(run_check("customers", other)).status is Status.OK


def test_nothing_is_left_in_the_state_folder(tmp_path: Path) -> None:
    where = imported(tmp_path, 29, 100)
    before = sorted(snapshot_folder(where.settings).iterdir())
    run_check("customers", where)
    assert sorted(snapshot_folder(where.settings).iterdir()) == before


def test_a_large_file_says_that_it_was_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    assert (
        "neither read nor compared with the last good copy"
        in only(run_check("customers", imported(tmp_path, 29, 100))).sentence
    )


@needs_root
def test_a_copy_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    where = imported(tmp_path, 29, 100)
    folder = snapshot_folder(where.settings)
    folder.chmod(0o700)
    open_to_others(tmp_path / "state")
    as_nobody = CheckContext(where.settings, {}, file_user=pwd.getpwnam("nobody"))
    found = told(run_check("customers", as_nobody))
    assert found[0][0] == "not_checked"
    assert f"{folder}: this user cannot read the last good copy" in found[0][1]


@needs_root
def test_a_copy_that_the_start_hands_over_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = imported(tmp_path, 29, 100, server='user = "nobody"')
    snapshot_folder(where.settings).chmod(0o700)
    open_to_others(tmp_path / "state")
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary").chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for file in tmp_path.glob("*.csv"):
        file.chmod(0o644)
    finding = only(run_check("customers", CheckContext(where.settings, {}, file_user=pwd.getpwnam("nobody"))))
    assert "shrank by 71%" in finding.sentence
