"""Customers found by a column of theirs, or of a related row of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.customers.keys import MAX_KEY, key_of, split
from appliance.customers.record import fields_of
from appliance.customers.snapshot import MAX_FOUND, Snapshot
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, open_snapshot, related_spec, run_import, write_csv

CUSTOMERS = (
    ("email", "id", "Account No"),
    ("ann@example.com", "1", "AB-7"),
    ("bob@example.com", " 2 ", "ab-7"),
    ("cy@example.com", "3", ""),
    ("", "1", "x" * (MAX_KEY + 1)),
)
ORDERS = (
    ("number", "customer_id", "date"),
    *((f"N{number}", "1", f"2026-01-{number:02}") for number in range(1, 10)),
    ("N20", "2", "2026-01-01"),
    ("n20", "2", "2026-01-02"),  # one customer's, twice
    ("N20", "9", "2026-01-01"),
    ("N21", "", "2026-01-01"),
    ("Straße", "3", ""),
)


def snapshot_of(folder: Path, *keys: str, on: str = "id", orders: Sequence[Sequence[str]] = ORDERS) -> Snapshot:
    """Give a snapshot of the customers and their newest three orders."""
    related = related_spec(
        name="Orders",
        source=write_csv(folder / "orders.csv", orders),
        table="",
        key="customer_id",
        on=on,
        order_by="-date",
        limit=3,
    )
    spec = import_spec(source=write_csv(folder / "customers.csv", CUSTOMERS), related=(related,), keys=keys)
    run_import(spec, folder / "state")
    snapshot = open_snapshot(folder / "state", spec)
    assert snapshot is not None
    return snapshot


def found(snapshot: Snapshot, name: str, text: str) -> list[str]:
    """Give the addresses of those who are found."""
    key = key_of(text)
    assert key is not None
    return [dict(fields_of(record))["email"] for record in snapshot.find_by_keys([(name, key)])]


@pytest.mark.parametrize(
    ("name", "text", "emails"),
    [
        ("account no", "AB-7", ["ann@example.com", "bob@example.com"]),
        ("account no", " ab-7 ", ["ann@example.com", "bob@example.com"]),
        ("account no", "AB-", []),
        ("account no", "%", []),
        ("orders.number", "n1", ["ann@example.com", ""]),  # older than what is kept, and of two with one id
        ("orders.number", "N20", ["bob@example.com"]),  # the other is nobody's
        ("orders.number", "N21", []),
        ("orders.number", "STRASSE", ["cy@example.com"]),
    ],
    ids=[
        "two customers",
        "another case and spaces",
        "no part of it",
        "no pattern",
        "an old order of two with one id",
        "an order of one",
        "an order of nobody",
        "case folded",
    ],
)
def test_finds(name: str, text: str, emails: list[str], tmp_path: Path) -> None:
    assert found(snapshot_of(tmp_path, "account no", "orders.number"), name, text) == emails


def test_finds_by_rows_that_are_joined_by_address(tmp_path: Path) -> None:
    orders = (ORDERS[0], ("N1", "ANN@example.com; cy@example.com", ""))
    snapshot = snapshot_of(tmp_path, "orders.number", on="email", orders=orders)
    assert found(snapshot, "orders.number", "N1") == ["ann@example.com", "cy@example.com"]


def test_several_keys_give_each_customer_once(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, "account no", "orders.number")
    keys = [("orders.number", "n20"), ("account no", "ab-7"), ("orders.number", "n1")]
    assert [dict(fields_of(one))["id"] for one in snapshot.find_by_keys(keys)] == [" 2 ", "1", "1"]


def test_a_key_of_everybody_gives_as_many_as_a_card_holds(tmp_path: Path) -> None:
    rows = [("email", "group"), *((f"a{n}@example.com", "all") for n in range(3 * MAX_FOUND))]
    spec = import_spec(source=write_csv(tmp_path / "customers.csv", rows), keys=("group",))
    run_import(spec, tmp_path / "state")
    snapshot = open_snapshot(tmp_path / "state", spec)
    assert snapshot is not None
    assert len(snapshot.find_by_keys([("group", "all")])) == MAX_FOUND + 1


def test_other_keys_are_another_plan(tmp_path: Path) -> None:
    snapshot_of(tmp_path, "id")
    spec = import_spec(source=tmp_path / "customers.csv")
    assert open_snapshot(tmp_path / "state", spec) is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("order", 'customers.csv: there is no column "order", only "email", "id", "Account No"; correct app.subject'),
        ("orders.no", 'orders.csv: there is no column "no", only "number", "customer_id", "date"; correct app.subject'),
        ("other.number", 'customers.csv: there is no column "other.number", only'),
    ],
)
def test_a_column_that_is_not_there_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused) as caught:
        snapshot_of(tmp_path, name)
    assert sentence in str(caught.value)


def test_the_column_of_ids_is_named_by_its_own_setting(tmp_path: Path) -> None:
    spec = import_spec(source=write_csv(tmp_path / "customers.csv", CUSTOMERS), keys=("id",), id_column="HS id")
    with pytest.raises(ImportRefused, match=r'there is no column "HS id", only .*; correct helpscout\.column'):
        run_import(spec, tmp_path / "state")


def test_the_column_of_ids_is_one_of_the_keys(tmp_path: Path) -> None:
    spec = import_spec(source=write_csv(tmp_path / "customers.csv", CUSTOMERS), keys=("id",), id_column="Account No")
    run_import(spec, tmp_path / "state")
    snapshot = open_snapshot(tmp_path / "state", spec)
    assert snapshot is not None
    assert snapshot.metadata.keys == ("id", "Account No")
    assert len(snapshot.find_by_keys([("Account No", "ab-7")])) == 2


def test_the_number_of_related_rows_is_known_beyond_those_kept(tmp_path: Path) -> None:
    (ann,) = snapshot_of(tmp_path).find(("ann@example.com",))
    assert ([row.number for row in ann.Orders], ann.Orders.total) == (["N9", "N8", "N7"], 9)


def test_a_sample_is_from_all_over_the_file(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    assert [dict(fields_of(one))["id"] for one in snapshot.sample(2)] == ["1", "3"]
    assert len(snapshot.sample(100)) == 4


@pytest.mark.parametrize(
    ("text", "key"),
    [(" AB-1 ", "ab-1"), ("", None), (" ", None), ("x" * MAX_KEY, "x" * MAX_KEY), ("x" * (MAX_KEY + 1), None)],
    ids=["case and spaces", "empty", "a space", "as long as may be", "too long"],
)
def test_normal_form(text: str, key: str | None) -> None:
    assert key_of(text) == key


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("id", ("", "id")),
        ("ORDERS.Order No", ("orders", "Order No")),
        ("a.b", ("", "a.b")),
        ("orders", ("", "orders")),
        ("orders.a.b", ("orders", "a.b")),
    ],
)
def test_split(name: str, place: tuple[str, str]) -> None:
    assert split(name, ["orders"]) == place
