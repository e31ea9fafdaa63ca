"""The map of ids on disk: what is confirmed is there, whatever happens to the steward, and every reader sees it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.id_map import IdMap, IdMapError, base_of, journal_of, line_of, newest, read_line
from appliance.customers.ids import DAY, MARK_SECONDS, SEEN_EVERY, Change, Kind, Known, Result
from appliance.service import id_store
from appliance.service.id_store import IdStore
from appliance.system import files
from tests.conftest import Logged

NOW = 1_790_000_000.0
TODAY = int(NOW // DAY)


def change(customer: int, *addresses: str, at: float = NOW, kind: Kind = Kind.REPLACE) -> Change:
    return Change(customer, kind, addresses, at)


def ids(number: int) -> list[Change]:
    return [change(customer, f"a{customer}@x.example") for customer in range(1, number + 1)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IdStore]:
    opened = IdStore(tmp_path / "ids", NOW)
    yield opened
    opened.close()


@pytest.fixture
def reader(store: IdStore, tmp_path: Path) -> Iterator[IdMap]:
    opened = IdMap(tmp_path / "ids")
    yield opened
    opened.close()


def test_a_confirmed_change_is_seen_by_every_reader(store: IdStore, reader: IdMap) -> None:
    assert reader.find(5) is None
    assert store.apply([change(5, "a@x.example")], NOW) == [Result.REPLACED]
    assert reader.find(5) == Known(("a@x.example",), NOW, TODAY)
    assert store.apply([change(5, "b@x.example", kind=Kind.ADD), change(6)], NOW) == [Result.ADDED, Result.REPLACED]
    assert reader.find(5) == Known(("a@x.example", "b@x.example"), NOW, TODAY)
    assert reader.find(6) == Known((), NOW, TODAY)
    assert store.apply([change(5, kind=Kind.DELETE)], NOW) == [Result.DELETED]
    assert reader.find(5) == Known(None, NOW)
    assert reader.find(2**70) is None


def test_several_changes_of_one_id_at_once(store: IdStore, reader: IdMap) -> None:
    store.apply([change(5, "a@x.example"), change(5, "b@x.example", kind=Kind.ADD)], NOW)
    assert reader.find(5) == Known(("a@x.example", "b@x.example"), NOW, TODAY)


def test_a_repeated_delivery_is_not_written_again(store: IdStore, tmp_path: Path) -> None:
    store.apply([change(5, "a@x.example")], NOW)
    size = journal_of(tmp_path / "ids", 1).stat().st_size
    assert store.apply([change(5, "a@x.example")], NOW) == [Result.REPLACED]
    assert journal_of(tmp_path / "ids", 1).stat().st_size == size


def test_a_new_base_holds_everything_and_readers_change_to_it(store: IdStore, reader: IdMap, tmp_path: Path) -> None:
    store.apply([*ids(20), change(7, kind=Kind.DELETE), change(8)], NOW)
    before = dict(reader.all())
    store.compact(NOW)
    assert sorted(file.name for file in (tmp_path / "ids").iterdir()) == ["00000002.db", "00000002.journal"]
    assert reader.find(3) == Known(("a3@x.example",), NOW, TODAY)
    assert reader.generation == 2
    assert dict(reader.all()) == before
    store.apply([change(3, "new@x.example", at=NOW + 1)], NOW + 1)
    assert reader.find(3) == Known(("new@x.example",), NOW + 1, TODAY)
    store.compact(NOW + 2 * MARK_SECONDS)
    assert reader.find(7) is None  # its mark has expired


def test_a_long_journal_becomes_a_base(store: IdStore, reader: IdMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_store, "MAX_LINES", 10)
    for each in ids(25):
        store.apply([each], NOW)
    assert (store.map.generation, len(store.map.changed)) == (3, 5)
    assert [reader.find(number) for number in (1, 15, 25)] == [
        Known((f"a{number}@x.example",), NOW, TODAY) for number in (1, 15, 25)
    ]


def test_what_was_not_seen_is_forgotten(store: IdStore, reader: IdMap) -> None:
    """In the base and in the journal; whoever was asked for since then stays, and so do marks."""
    store.apply([*ids(6), change(6, kind=Kind.DELETE, at=NOW + 1)], NOW)
    store.compact(NOW)
    month, later = 30 * DAY, NOW + 60 * DAY
    mark = change(6, kind=Kind.DELETE, at=later)
    store.apply(
        [change(7, "a7@x.example"), change(1, kind=Kind.SEEN), change(2, "a2@x.example", at=later), mark], later
    )
    store.apply([change(8, "a8@x.example")], NOW + 10 * DAY)  # the clock was wrong meanwhile
    assert store.apply([change(3, kind=Kind.SEEN)], NOW + (SEEN_EVERY - 1) * DAY) == [Result.STALE]  # not written
    assert store.forget_unseen(later - month, later) == 4
    assert {customer for customer, _ in reader.all()} == {1, 2, 6, 7}
    assert reader.find(1) == Known(("a1@x.example",), NOW, int(later // DAY))
    assert (store.known, store.map.generation) == (3, 3)
    assert store.forget_unseen(later - month, later) == 0
    assert store.map.generation == 3


def test_how_many_are_known_is_counted(store: IdStore, reader: IdMap, tmp_path: Path) -> None:
    for batch in (ids(20), [change(7, kind=Kind.DELETE), change(8), change(99, kind=Kind.DELETE)], ids(3)):
        store.apply(batch, NOW)
        assert store.known == reader.count() == sum(held.addresses is not None for _, held in reader.all())
    store.compact(NOW)
    for batch in ([change(5, kind=Kind.DELETE), change(6)], [change(30, "a@x.example"), change(30, kind=Kind.DELETE)]):
        store.apply(batch, NOW)
        assert store.known == reader.count() == sum(held.addresses is not None for _, held in reader.all())
    assert store.known == 18
    again = IdStore(tmp_path / "ids", NOW)
    assert again.known == 18
    again.close()


def test_files_are_private(store: IdStore, tmp_path: Path) -> None:
    store.apply(ids(3), NOW)
    store.compact(NOW)
    folder = tmp_path / "ids"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600, 0o600]


# What goes wrong


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_cut_off(cut: int, tmp_path: Path) -> None:
    folder = tmp_path / "ids"
    store = IdStore(folder, NOW)
    store.apply(ids(3), NOW)
    store.close()
    whole = journal_of(folder, 1).read_bytes()
    torn = line_of(9, Known(("torn@x.example",), NOW, TODAY))[:-1][:cut]
    journal_of(folder, 1).write_bytes(whole + torn)
    reader = IdMap(folder)
    assert reader.find(9) is None
    store = IdStore(folder, NOW)
    assert journal_of(folder, 1).read_bytes() == whole
    store.apply([change(9, "whole@x.example")], NOW)
    assert reader.find(9) == Known(("whole@x.example",), NOW, TODAY)
    store.close()
    reader.close()


def test_a_damaged_line_is_not_believed_and_said(tmp_path: Path, logged: Logged) -> None:
    folder = tmp_path / "ids"
    store = IdStore(folder, NOW)
    store.apply(ids(3), NOW)
    store.close()
    text = journal_of(folder, 1).read_bytes()
    journal_of(folder, 1).write_bytes(text.replace(b"a2@", b"b2@"))
    store = IdStore(folder, NOW)
    assert "1 lines of the journal" in str(logged.take("ids_damaged")["why"])
    assert [store.map.find(number) is not None for number in (1, 2, 3)] == [True, False, True]
    assert store.map.damaged_lines == 0  # the new generation has none
    store.close()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"x" * len(data), lambda data: data[:4096]])
def test_a_damaged_base_is_rebuilt_of_what_is_good(
    damage: Callable[[bytes], bytes], tmp_path: Path, logged: Logged
) -> None:
    folder = tmp_path / "i?d #1%" / "ids"
    folder.parent.mkdir()
    store = IdStore(folder, NOW)
    store.apply(ids(500), NOW)
    store.compact(NOW)
    store.apply([change(501, "last@x.example")], NOW)
    store.close()
    base_of(folder, 2).write_bytes(damage(base_of(folder, 2).read_bytes()))
    with pytest.raises(IdMapError, match=r"00000002\.db is damaged"):
        IdMap(folder).find(400)
    store = IdStore(folder, NOW)
    assert "00000002.db is damaged" in str(logged.take("ids_damaged")["why"])
    assert store.map.find(501) == Known(("last@x.example",), NOW, TODAY)
    store.apply(ids(3), NOW)
    store.close()


def test_a_removed_folder_is_made_again_and_readers_find_it(store: IdStore, reader: IdMap, tmp_path: Path) -> None:
    store.apply(ids(3), NOW)
    assert reader.find(1) is not None
    for file in (tmp_path / "ids").iterdir():
        file.unlink()
    assert reader.find(1) is None
    store.apply([change(1, "new@x.example")], NOW)  # what is removed is forgotten, and the steward goes on
    assert reader.find(1) == Known(("new@x.example",), NOW, TODAY)
    assert reader.find(2) is None


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_no_room_confirms_nothing_and_the_next_change_is_there(
    step: str, store: IdStore, reader: IdMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply(ids(3), NOW)

    def fail(*_: object) -> Any:
        reader.find(1)  # in the middle of it
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space"):
            store.apply([change(4, "a4@x.example")], NOW)
    assert reader.find(4) is None
    assert store.map.find(4) is None
    assert store.apply([change(5, "a5@x.example")], NOW) == [Result.REPLACED]
    assert [reader.find(number) is not None for number in range(1, 6)] == [True, True, True, False, True]


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """Counts every step that changes a file, and ends the process at one of them, and at all after it."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.steps: list[str] = []
        self._at = at
        for name in ("write", "fsync", "rename", "ftruncate", "unlink", "mkdir"):
            patch.setattr(os, name, self._wrap(name, getattr(os, name)))
        for module in (id_store, files):
            patch.setattr(module, "open_private", self._wrap("open", files.open_private))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            self.steps.append(name)
            if len(self.steps) >= self._at:
                if name == "write" and len(self.steps) == self._at:
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])  # torn
                raise Killed
            return real(*arguments, **more)

        return step


def live(folder: Path, begun: list[Change], confirmed: list[Change]) -> None:
    """Begin, change, make a base, change again: a life with every step in it."""
    store = IdStore(folder, NOW)
    for each in ids(4):
        begun.append(each)
        store.apply([each], NOW)
        confirmed.append(each)
    store.compact(NOW)
    for each in (change(2, kind=Kind.DELETE), change(9, "a9@x.example")):
        begun.append(each)
        store.apply([each], NOW)
        confirmed.append(each)
    store.close()


CHANGE = ["write", "fsync"]  # a line of the journal; then it is confirmed
JOURNAL = ["fsync", "open", "fsync"]  # the folder with the base's name, the new journal, the folder with its name
BASE = ["unlink", "open", "fsync", "rename", "unlink"]  # what is left of an earlier try, the base, itself, its name
STEPS = ["mkdir", *JOURNAL, "open", *4 * CHANGE, *BASE, *JOURNAL, "unlink", "open", *2 * CHANGE]


def after(changes: list[Change]) -> dict[int, tuple[str, ...] | None]:
    """Return what is held after these."""
    return {each.customer: None if each.kind is Kind.DELETE else each.addresses for each in changes}


def test_killed_at_every_step_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    at = 0
    while True:
        at += 1
        folder, begun, confirmed = tmp_path / f"{at}", list[Change](), list[Change]()
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(patch, at)
            try:
                live(folder, begun, confirmed)
                is_over = True
            except Killed:
                is_over = False
        reader = IdMap(folder)
        for store in (None, IdStore(folder, NOW)):  # before and after it is mended
            known = {customer: held.addresses for customer, held in reader.all()}
            # What was being written when it was killed is there, or not.
            assert known in (after(confirmed), after(begun)), (at, mortal.steps)
            if store is not None:
                assert store.map.damaged_lines == 0
                assert store.apply([change(77, "after@x.example")], NOW) == [Result.REPLACED]
                assert reader.find(77) == Known(("after@x.example",), NOW, TODAY)
                store.close()
        reader.close()
        if is_over:
            break
    assert mortal.steps == STEPS


MENDING = [
    *("mkdir", "unlink", "fsync"),  # what a base was begun with; the newest journal's name
    *("unlink", "unlink", "open", "ftruncate", "fsync"),  # the old generation; a torn line
]


def test_killed_at_every_step_of_mending(tmp_path: Path) -> None:
    """What a crash has left, at its worst, is mended in the end by whoever is not killed."""
    at, steps = 0, list[str]()
    while steps != MENDING:
        at += 1
        folder = tmp_path / f"{at}"
        store = IdStore(folder, NOW)
        store.apply(ids(4), NOW)
        (old, journal) = (journal_of(folder, 1).read_bytes(), line_of(9, Known(("torn@x.example",), NOW))[:-1])
        store.compact(NOW)
        store.close()
        journal_of(folder, 1).write_bytes(old)
        base_of(folder, 1).write_bytes(b"")
        journal_of(folder, 2).write_bytes(journal)
        (folder / "00000003.db.tmp").write_bytes(b"begun")
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(patch, at)
            with suppress(Killed):
                IdStore(folder, NOW).close()
        steps = mortal.steps
        mended = IdStore(folder, NOW)
        assert {customer for customer, _ in mended.map.all()} == {1, 2, 3, 4}
        mended.close()
        assert sorted(file.name for file in folder.iterdir()) == ["00000002.db", "00000002.journal"]
        assert at <= len(MENDING) + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_none(line: bytes) -> None:
    read = read_line(line)
    assert read is None or line_of(read.customer, read.known)


@given(
    st.integers(1, 2**63 - 1),
    st.lists(st.text(st.characters(codec="utf-8"))).map(tuple) | st.none(),
    st.floats(0, 1e11),
)
def test_a_line_is_read_as_it_was_written(customer: int, addresses: tuple[str, ...] | None, as_of: float) -> None:
    read = read_line(line_of(customer, Known(addresses, as_of)).rstrip(b"\n"))
    assert read is not None
    assert (read.customer, read.known) == (customer, Known(addresses, as_of))


def test_the_newest_is_the_highest_number(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") == 0
    for name in ("00000002.journal", "00000010.journal", "00000011.db", "x.journal", "00000012.journal.tmp"):
        (tmp_path / name).touch()
    assert newest(tmp_path) == 10
