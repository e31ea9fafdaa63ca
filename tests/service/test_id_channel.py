"""Workers and the steward: what is confirmed is stored, whoever of them is replaced meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from appliance.customers.id_map import IdMap, changed_at
from appliance.customers.ids import DAY, Change, Kind
from appliance.inbox_api.client import Credentials, InboxApi
from appliance.service import id_channel
from appliance.service.id_channel import IdService, ask, store
from appliance.service.id_store import IdStore
from tests.conftest import Logged
from tests.inbox_api.help_scout import API_ID, API_SECRET, HelpScout

NOW = 1_790_000_000.0


def change(customer: int) -> Change:
    return Change(customer, Kind.REPLACE, (f"a{customer}@x.example",), NOW)


@asynccontextmanager
async def serving(folder: Path, api: InboxApi | None = None) -> AsyncIterator[IdService]:
    service = IdService(folder, lambda: NOW, api)
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def stored(folder: Path, *customers: int) -> list[bool]:
    return await asyncio.gather(*(store(folder, change(customer)) for customer in customers))


def test_what_nobody_speaks_of_is_forgotten_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr(id_channel, "_FORGET_EVERY", 0.01)
    folder, now = tmp_path / "ids", [NOW]

    async def work() -> None:
        service = IdService(folder, lambda: now[0], keep=30 * DAY)
        task = asyncio.create_task(service.run())
        assert await stored(folder, 1, 2) == [True, True]
        now[0] = NOW + 31 * DAY
        while not logged.rest():
            await asyncio.sleep(0.01)
        assert service.info.known == 0
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert list(IdMap(folder).all()) == []
    assert logged.take("ids_forgotten")["count"] == 2


def test_many_at_once_are_stored_and_synced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, synced = tmp_path / "ids", []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(1), real(descriptor)))

    async def work() -> None:
        async with serving(folder):
            assert await stored(folder, 1) == [True]
            before = len(synced)
            assert await stored(folder, *range(1, 60)) == [True] * 59
            assert len(synced) - before < 30

    asyncio.run(work())
    reader = IdMap(folder)
    assert len(dict(reader.all())) == 59
    assert (folder / "steward.sock").stat().st_mode & 0o777 == 0o600
    reader.close()


def test_what_is_answered_to_a_question(tmp_path: Path) -> None:
    folder = tmp_path / "ids"
    help_scout = HelpScout({7: ("ida@nord.example",)})
    api = InboxApi(
        Credentials(API_ID.encode(), API_SECRET.encode()),
        help_scout.exchange,
        timer=lambda: 0.0,
        clock=lambda: NOW,
        random=lambda: 0.0,
    )

    async def work() -> None:
        assert await ask(folder, 7) is False  # nobody is there
        async with serving(folder):
            assert await stored(folder, 1) == [True]
            assert await ask(folder, 7) is False  # no API is asked
        async with serving(folder, api) as service:
            while service.info.newest_age_seconds is None:
                await asyncio.sleep(0)
            assert await asyncio.gather(*(ask(folder, 7) for _ in range(20))) == [True] * 20
            assert await ask(folder, 1) is True  # it was stored before: the page did not know yet
            assert await ask(folder, 9) is False
            assert await store(folder, Change(7, Kind.DELETE, (), NOW))
            assert await ask(folder, 7) is False
            assert help_scout.paths == ["token", "/v2/customers/7", "/v2/customers/9"]
            assert service.info.changes == {"api": 1, "webhook": 1}
            assert (service.info.known, service.info.newest_age_seconds) == (1, 0.0)

    asyncio.run(work())


def test_questions_go_on_when_the_folder_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_channel, "_REOPEN", 0.01)
    folder = tmp_path / "ids"
    api = InboxApi(
        Credentials(API_ID.encode(), API_SECRET.encode()),
        HelpScout({7: ("ida@nord.example",), 8: ()}).exchange,
        timer=lambda: 0.0,
        clock=lambda: NOW,
        random=lambda: 0.0,
    )

    async def work() -> None:
        async with serving(folder, api):
            assert await stored(folder, 1) == [True]
            assert await ask(folder, 7) is True
            shutil.rmtree(folder)
            assert await stored(folder, 2) == [True]
            while not await ask(folder, 8):
                await asyncio.sleep(0.01)

    asyncio.run(work())
    assert changed_at(folder) is not None
    assert changed_at(tmp_path / "none") is None


@pytest.mark.parametrize("step", ["listening", "removed"])
def test_a_folder_opened_again_leaves_nothing_open(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr(id_channel, "_REOPEN", 0.01)
    folder, opened = tmp_path / "ids", list[IdStore]()

    class Store(IdStore):
        def __init__(self, folder: Path, now: float) -> None:
            super().__init__(folder, now)
            opened.append(self)

    def fail(_: IdService) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def work() -> None:
        async with serving(folder):
            while len(opened) < 5:
                if step == "removed" and (folder / "steward.sock").exists():
                    shutil.rmtree(folder)
                await asyncio.sleep(0.01)
            monkeypatch.undo()
            assert await stored(folder, 1) == [True]
            assert [one._journal >= 0 for one in opened[:-1]] == [False] * (len(opened) - 1)

    monkeypatch.setattr(id_channel, "IdStore", Store)
    if step == "listening":
        monkeypatch.setattr(IdService, "_listening", fail)
    asyncio.run(work())
    if step == "listening":
        logged.take("ids_not_stored")
        logged.take("ids_stored")


def test_a_change_waits_for_the_next_steward(tmp_path: Path) -> None:
    folder = tmp_path / "ids"

    async def work() -> None:
        async with serving(folder):
            assert await stored(folder, 1) == [True]
        waiting = asyncio.create_task(store(folder, change(2)))
        await asyncio.sleep(0)
        async with serving(folder):
            assert await waiting is True

    asyncio.run(work())


def test_without_a_steward_it_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_channel, "PATIENCE", 0.05)
    assert asyncio.run(store(tmp_path / "none", change(1))) is False


def test_a_full_disk_is_said_once_and_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    folder = tmp_path / "ids"

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def work() -> None:
        async with serving(folder):
            assert await stored(folder, 1) == [True]
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", fail)
                assert await stored(folder, 2) == [False]
                assert await stored(folder, 3) == [False]
            assert await stored(folder, 4) == [True]

    asyncio.run(work())
    assert str(logged.take("ids_not_stored")["why"]).endswith("No space left on device")
    logged.take("ids_stored")
    reader = IdMap(folder)
    assert sorted(dict(reader.all())) == [1, 4]
    reader.close()


def test_a_folder_whose_path_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / "ids"
    folder.parent.mkdir()

    async def work() -> None:
        async with serving(folder):
            assert await stored(folder, 1) == [True]

    asyncio.run(work())


@pytest.mark.parametrize("sent", [b"", b"{", b"[]\n", b"\xff\n", b'{"customer": "x"}\n', b"x" * 100_000])
def test_what_is_no_change_is_nothing(sent: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "ids"

    async def work() -> None:
        async with serving(folder):
            assert await stored(folder, 1) == [True]
            reader, writer = await asyncio.open_unix_connection(sock=id_channel._connected(folder))
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            assert await stored(folder, 2) == [True]

    asyncio.run(work())
