"""The map of ids on a bad disk: one bad page stops nobody, and what fails halfway loses nothing that was confirmed."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from appliance.customers.id_map import IdMap, IdMapError, base_of, journal_of
from appliance.customers.ids import DAY, Change, Kind, Known, Result
from appliance.service import id_store
from appliance.service.id_store import IdStore
from appliance.system import files
from tests.conftest import Logged

NOW = 1_790_000_000.0
TODAY = int(NOW // DAY)
IDS = 500
MIDDLE = IDS // 2


def change(customer: int, *addresses: str, at: float = NOW, kind: Kind = Kind.REPLACE) -> Change:
    return Change(customer, kind, addresses, at)


def ids(number: int) -> list[Change]:
    return [change(customer, f"a{customer:04}@x.example") for customer in range(1, number + 1)]


def known(customer: int) -> Known:
    return Known((f"a{customer:04}@x.example",), NOW, TODAY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ids 1 to IDS in the base of generation 2, and the next one in its journal."""
    folder = tmp_path / "ids"
    with closing(IdStore(folder, NOW)) as store:
        store.apply(ids(IDS), NOW)
        store.compact(NOW)
        store.apply(ids(IDS + 1)[-1:], NOW)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[IdStore]:
    with closing(IdStore(folder, NOW)) as opened:
        yield opened


@pytest.fixture
def reader(folder: Path) -> Iterator[IdMap]:
    with closing(IdMap(folder)) as opened:
        yield opened


def spoil_page(folder: Path) -> None:
    """Damage the page that the MIDDLE id is in."""
    data = bytearray(base_of(folder, 2).read_bytes())
    begin = data.index(f"a{MIDDLE:04}@".encode()) // 4096 * 4096
    data[begin : begin + 4096] = bytes(4096)
    base_of(folder, 2).write_bytes(data)


def spoil_row(folder: Path) -> None:
    """Damage the row of the MIDDLE id."""
    with closing(sqlite3.connect(base_of(folder, 2), isolation_level=None)) as database:
        database.execute("UPDATE known SET addresses = CAST(addresses AS BLOB) WHERE customer = ?", (MIDDLE,))


def assert_salvaged(ids: IdMap) -> None:
    assert [ids.find(one) for one in (1, IDS, IDS + 1)] == [known(1), known(IDS), known(IDS + 1)]
    assert IDS / 2 < ids.count() <= IDS + 1
    assert ids.find(MIDDLE) is None


def test_one_bad_page_keeps_nobody_from_starting(folder: Path, reader: IdMap, logged: Logged) -> None:
    spoil_page(folder)
    with closing(IdStore(folder, NOW)) as store:
        assert "00000002.db is damaged" in str(logged.take("ids_damaged")["why"])
        assert_salvaged(reader)
        assert store.known == reader.count()
    with closing(IdStore(folder, NOW)):
        assert_salvaged(reader)


Spoil = Callable[[Path], None]
SPOILS = pytest.mark.parametrize("spoil", [spoil_page, spoil_row], ids=["page", "row"])


@SPOILS
def test_a_change_that_meets_damage_is_stored_with_all_others(
    spoil: Spoil, folder: Path, store: IdStore, reader: IdMap, logged: Logged
) -> None:
    spoil(folder)
    store.map.forget()  # no page is in its cache
    both = [change(9999, "other@x.example"), change(MIDDLE, "new@x.example", at=NOW + 1)]
    assert store.apply(both, NOW) == [Result.REPLACED] * 2
    assert reader.find(9999) == Known(("other@x.example",), NOW, TODAY)
    assert reader.find(MIDDLE) == Known(("new@x.example",), NOW + 1, TODAY)
    assert [reader.find(one) for one in (1, IDS, IDS + 1)] == [known(1), known(IDS), known(IDS + 1)]
    assert store.known == reader.count()
    logged.take("ids_damaged")


@SPOILS
def test_a_new_base_is_made_of_what_is_good(
    spoil: Spoil, folder: Path, store: IdStore, reader: IdMap, logged: Logged
) -> None:
    spoil(folder)
    store.map.forget()
    store.compact(NOW)
    assert_salvaged(reader)
    logged.take("ids_damaged")


@SPOILS
def test_what_was_not_seen_is_forgotten_in_spite_of_damage(
    spoil: Spoil, folder: Path, store: IdStore, reader: IdMap, logged: Logged
) -> None:
    later = NOW + 60 * DAY
    store.apply([change(1, kind=Kind.SEEN)], later)
    spoil(folder)
    store.map.forget()
    assert store.forget_unseen(later - 30 * DAY, later) > IDS / 2
    assert [one for one, _ in reader.all()] == [1]
    logged.take("ids_damaged")


def test_a_long_journal_meets_damage(
    folder: Path, store: IdStore, reader: IdMap, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr(id_store, "MAX_LINES", 10)
    spoil_page(folder)
    store.map.forget()
    for customer in range(9000, 9012):
        assert store.apply([change(customer, "a@x.example")], NOW) == [Result.REPLACED]
    assert reader.generation < store.map.generation == 3
    assert_salvaged(reader)
    logged.take("ids_damaged")


def test_a_base_that_cannot_be_written_is_not_tried_at_every_change(
    store: IdStore, reader: IdMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of damage, too: whatever becomes of the base, the change is stored."""
    monkeypatch.setattr(id_store, "MAX_LINES", 10)
    errors = [OSError(errno.ENOSPC, "No space left on device"), IdMapError("damaged")]
    tries = list[int]()

    def compact(now: float) -> None:
        tries.append(store.map.end)
        raise errors[len(tries) % 2]

    monkeypatch.setattr(store, "compact", compact)
    for customer in range(9000, 9060):
        assert store.apply([change(customer, f"a{customer}@x.example")], NOW) == [Result.REPLACED]
        assert reader.find(customer) is not None
    assert 5 < len(tries) < 25
    assert all(later >= earlier + earlier // 10 for earlier, later in pairwise(tries))


def test_the_same_ids_again_and_again_become_a_base(
    folder: Path, store: IdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_store, "MAX_BYTES", 2000, raising=False)
    for turn in range(200):
        store.apply([change(1, f"a{turn}@x.example", at=NOW + turn)], NOW)
        assert journal_of(folder, store.map.generation).stat().st_size < 2000
    assert store.map.generation > 3
    assert store.find(1) == Known(("a199@x.example",), NOW + 199, TODAY)


class Failing:
    """Has one step that changes a file fail, or several in a row."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, count: int) -> None:
        self.steps = 0
        self._failing = range(at, at + count)
        for name in ("write", "fsync", "rename", "ftruncate", "unlink"):
            patch.setattr(os, name, self._wrap(getattr(os, name)))
        for module in (id_store, files):
            patch.setattr(module, "open_private", self._wrap(files.open_private))

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            self.steps += 1
            if self.steps in self._failing:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **more)

        return step


@pytest.mark.parametrize("count", [1, 2, 5])
def test_failing_at_every_step_loses_nothing_confirmed(count: int, tmp_path: Path) -> None:
    """At each of the steps, so many of them; the service goes on, and later it is started again."""
    at, steps = 0, 0
    while at <= steps:
        at += 1
        folder, expected = tmp_path / f"{at}", dict[int, list[tuple[str, ...]]]()
        store, reader = IdStore(folder, NOW), IdMap(folder)
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, at, count)
            for turn in range(12):
                address = f"a{turn}@x.example"
                with suppress(OSError):
                    # Without an answer it may be there, if it could not even be cut off again.
                    expected.setdefault(turn % 5 + 1, []).append((address,))
                    store.apply([change(turn % 5 + 1, address, at=NOW + turn)], NOW)
                    expected[turn % 5 + 1] = [(address,)]
                if turn % 3 == 2:
                    with suppress(OSError):
                        store.compact(NOW)
            steps = failing.steps
        generation = store.map.generation
        store.apply([change(9, "last@x.example")], NOW)
        store.compact(NOW)
        assert store.map.generation > generation
        store.apply([change(10, "last@x.example")], NOW)
        found = dict(reader.all())
        assert {9, 10} <= found.keys()
        for one, addresses in expected.items():
            assert found[one].addresses in addresses, at
        store.close()
        with closing(IdStore(folder, NOW)) as again:
            assert dict(again.map.all()) == found
            assert again.map.damaged_lines == 0
        reader.close()
        assert len(list(folder.iterdir())) == 2  # nothing of older generations is left
    assert steps > 40


def test_an_old_journal_that_stays_is_removed_with_the_next_change(
    folder: Path, store: IdStore, reader: IdMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(file: Path, missing_ok: bool = False) -> None:
        if file.suffix != ".tmp":
            raise OSError(errno.EPERM, "Operation not permitted")

    assert reader.find(1) is not None
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        store.compact(NOW)
        store.apply([change(9998, "new@x.example")], NOW)
    assert journal_of(folder, 2).exists()
    store.apply([change(9999, "new@x.example")], NOW)
    assert reader.find(9999) is not None
    assert sorted(file.name for file in folder.iterdir()) == ["00000003.db", "00000003.journal"]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("step", ["open_private", "sync"])
def test_a_store_that_cannot_be_opened_leaves_nothing_open(
    step: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(id_store, step, fail)
    before, errors = descriptors(), list[OSError]()
    for _ in range(5):
        with pytest.raises(OSError, match="Input/output") as raised:
            IdStore(folder, NOW)
        errors.append(raised.value)  # with its frames: nothing is left to the garbage collector
    assert descriptors() == before


def test_a_salvaged_store_leaves_nothing_open(folder: Path, logged: Logged) -> None:
    before = descriptors()
    spoil_page(folder)
    store = IdStore(folder, NOW)
    store.close()
    assert descriptors() == before
    logged.take("ids_damaged")
