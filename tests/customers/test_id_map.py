"""The map of ids as it is read: what is damaged is never believed, and never taken for nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.id_map import IdMap, IdMapError, base_of, open_base, read_row, readable, row_of
from appliance.customers.ids import Change, Kind, Known
from appliance.service.id_store import IdStore

NOW = 1_790_000_000.0
IDS = 500


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base of IDS ids, each with one address."""
    folder = tmp_path / "ids"
    with closing(IdStore(folder, NOW)) as store:
        changes = [Change(one, Kind.REPLACE, (f"a{one:04}@x.example",), NOW) for one in range(1, IDS + 1)]
        store.apply(changes, NOW)
        store.compact(NOW)
    return base_of(folder, 2)


@pytest.fixture
def reader(base: Path) -> Iterator[IdMap]:
    opened = IdMap(base.parent)
    yield opened
    opened.close()


def run(base: Path, statement: str) -> None:
    with closing(sqlite3.connect(base, isolation_level=None)) as database:
        database.execute(statement)


def flip(base: Path, old: bytes, new: bytes) -> None:
    data = base.read_bytes()
    assert data.count(old) == 1
    base.write_bytes(data.replace(old, new))


DAMAGES: list[Callable[[Path], None]] = [
    lambda base: flip(base, b"a0005@x.example", b"b0005@x.example"),
    lambda base: flip(base, b"a0005@x.example", b"\xff0005@x.example"),
    lambda base: run(base, "UPDATE known SET addresses = CAST(addresses AS BLOB) WHERE customer = 5"),
    lambda base: run(base, "UPDATE known SET addresses = NULL WHERE customer = 5"),
    lambda base: run(base, "UPDATE known SET as_of = 'x' WHERE customer = 5"),
    lambda base: run(base, "UPDATE known SET seen = x'00' WHERE customer = 5"),
    lambda base: run(base, "UPDATE known SET crc = 'x' WHERE customer = 5"),
]


@pytest.mark.parametrize(
    "damage", DAMAGES, ids=["letter", "no UTF-8", "blob", "deleted", "text for a time", "blob for a day", "crc"]
)
def test_a_damaged_row_is_not_believed_and_the_others_are(
    damage: Callable[[Path], None], base: Path, reader: IdMap
) -> None:
    damage(base)
    with pytest.raises(IdMapError, match=r"00000002\.db is damaged"):
        reader.find(5)
    with pytest.raises(IdMapError, match=r"00000002\.db is damaged"):
        dict(reader.all())
    assert [reader.find(one) is not None for one in (4, 6)] == [True, True]
    with closing(open_base(base)) as opened:
        assert sorted(readable(opened)) == [one for one in range(1, IDS + 1) if one != 5]


def test_a_row_moved_to_another_id_is_not_believed(base: Path, reader: IdMap) -> None:
    run(base, "UPDATE known SET customer = 1005 WHERE customer = 5")
    with pytest.raises(IdMapError):
        reader.find(1005)


def test_both_ends_of_a_base_with_a_damaged_page_are_read(base: Path) -> None:
    data = bytearray(base.read_bytes())
    begin = data.index(b"a0250@x.example") // 4096 * 4096
    data[begin : begin + 4096] = bytes(4096)
    base.write_bytes(data)
    with closing(open_base(base)) as opened:
        found = readable(opened)
    assert {1, IDS} <= found.keys()
    assert IDS * 2 / 3 < len(found) < IDS


def test_a_base_that_cannot_be_opened_stays_damage(base: Path, reader: IdMap) -> None:
    """Not only at the first look: an id that is not found is one of which nothing is known."""
    base.unlink()
    for _ in range(2):
        with pytest.raises(IdMapError):
            reader.find(5)


@given(
    st.integers(1, 2**63 - 1),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1)).map(tuple) | st.none(),
    st.floats(0, 1e11),
    st.integers(0, 100_000),
)
def test_a_row_is_read_as_it_was_written(
    customer: int, addresses: tuple[str, ...] | None, as_of: float, seen: int
) -> None:
    row = row_of(customer, Known(addresses, as_of, seen))
    assert read_row(*row) == Known(addresses, as_of, seen)
    assert -(2**31) <= row[-1] < 2**31
