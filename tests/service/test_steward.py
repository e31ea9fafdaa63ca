"""When the steward imports, and what it says meanwhile: each row of its table, with a source that only pretends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.ingest.spec import ImportRefused
from appliance.ingest.stats import ImportStats
from appliance.observe.health import Import
from appliance.service import steward as module
from appliance.service.change_detector import ChangeDetector
from appliance.service.import_child import ImportDone, ImportFailed, ImportResult
from appliance.service.steward import Steward
from tests.conftest import Logged

REPORT = ImportStats().report(1, 0.1)


class Stability:
    """Says what a test wants of the files."""

    def __init__(self) -> None:
        self.stable, self.warning = True, ""

    def is_stable(self, _fingerprint: str, _imported: object) -> bool:
        return self.stable

    def reset(self) -> None:
        self.stable, self.warning = True, ""


class World:
    """A steward, its source and its imports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.snapshot = "a", SimpleNamespace(fingerprint="a", as_of=time.time(), columns=(), relations=())
        self.result: ImportResult = ImportDone(REPORT)
        self.imports = 0
        server = SimpleNamespace(state=Path("/nowhere"))
        deployment: Any = SimpleNamespace(
            settings=SimpleNamespace(server=server, apps=(), acme=SimpleNamespace(enabled=False)),
            import_spec=SimpleNamespace(is_fetched=False),
            snapshot_metadata=lambda: self.snapshot,
        )
        context: Any = SimpleNamespace(deployment=deployment)
        self.steward = Steward(context, ())
        self.changes, self.stability = ChangeDetector("a"), Stability()
        monkeypatch.setattr(module, "fingerprint", lambda _spec: self.source)
        monkeypatch.setattr(self.steward, "_run_import", self._run_import)

    async def _run_import(self, _known: object) -> ImportResult:
        self.imports += 1
        if isinstance(self.result, ImportDone):
            self.snapshot.fingerprint = self.source
        return self.result

    def polls(self, number: int = 1) -> list[int]:
        """Poll so often; return how many imports each began."""
        begun = []
        for _ in range(number):
            before = self.imports
            asyncio.run(self.steward._poll_source(self.changes, self.stability))  # type: ignore[arg-type]
            begun.append(self.imports - before)
        return begun


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def refused(*, transient: bool) -> ImportFailed:
    refusal = ImportRefused("c.csv: is wrong", transient=transient)
    return ImportFailed(str(refusal), transient=refusal.transient)


def test_what_is_imported_already_is_not_read(world: World) -> None:
    assert world.polls(3) == [0, 0, 0]


def test_what_has_changed_is_read_when_it_is_the_same_at_two_polls(world: World, logged: Logged) -> None:
    world.source = "b"
    assert world.polls(3) == [0, 1, 0]
    assert logged.take("import")["rows"] == 0


def test_without_a_snapshot_it_is_read_at_once(world: World, logged: Logged) -> None:
    world.snapshot.fingerprint = ""
    assert world.polls(2) == [1, 0]
    logged.take("import")


@pytest.mark.parametrize(("transient", "begun"), [(False, [0, 1, 0, 0]), (True, [0, 1, 1, 1])])
def test_what_was_refused_is_read_again_if_that_can_help(
    transient: bool, begun: list[int], world: World, logged: Logged
) -> None:
    world.source, world.result = "b", refused(transient=transient)
    assert world.polls(4) == begun
    assert logged.take("import_refused")["why"] == "c.csv: is wrong"  # once
    assert world.steward._last_import is not None
    assert world.steward._last_import.refused == "c.csv: is wrong"


def test_an_import_by_hand_ends_a_refusal(world: World, logged: Logged) -> None:
    world.source, world.result = "b", refused(transient=False)
    world.polls(2)
    logged.take("import_refused")
    world.snapshot.fingerprint = "b"
    assert world.polls() == [0]
    assert world.steward._last_import is None


def test_a_good_import_stays_the_last_one(world: World) -> None:
    world.steward._last_import = good = Import(at=1.0, rows=6)
    world.polls()
    assert world.steward._last_import is good


def test_what_is_being_written_waits_and_that_is_said_once(world: World, logged: Logged) -> None:
    world.source, world.stability.stable, world.stability.warning = "b", False, "c.csv has been written to for long"
    assert world.polls(3) == [0, 0, 0]
    assert logged.take("import_waits")["why"] == world.stability.warning
    world.stability.reset()
    assert world.polls() == [1]
    logged.take("import")


def test_a_change_that_is_taken_back_is_not_waited_for(world: World, logged: Logged) -> None:
    world.source, world.stability.stable, world.stability.warning = "b", False, "c.csv has been written to for long"
    world.polls()
    logged.take("import_waits")
    assert world.changes.pending
    world.source = "a"
    assert world.polls() == [0]
    assert (world.changes.pending, world.stability.warning) == (False, "")


def test_data_from_the_future_is_said_once_and_again_when_it_comes_back(world: World, logged: Logged) -> None:
    for ahead in (3600.0, 3600.0, 0.0, 3600.0):
        world.snapshot.as_of = time.time() + ahead
        world.polls()
    for _ in range(2):
        assert "were read 60 minutes in the future" in str(logged.take("clock_set_back")["why"])


def test_an_import_is_forked_while_the_ids_thread_stands_still(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of SQLite's that it held would never be released in the child."""
    thread = world.steward._thread
    tried: list[type[BaseException]] = []

    def fork(*_: object) -> None:
        work = thread._executor.submit(int)
        with pytest.raises(TimeoutError) as caught:
            work.result(0.05)
        tried.append(caught.type)
        raise ImportRefused("not in this test", transient=True)

    monkeypatch.setattr(module, "ImportChild", fork)

    async def work() -> None:
        result = await Steward._run_import(world.steward, {})
        assert isinstance(result, ImportFailed)
        assert await thread.run(lambda: 1) == 1
        thread.end()

    asyncio.run(work())
    assert len(tried) == 1
