"""The steward's part in renewals: what it says, how often, and what it waits for; the children only pretend."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.acme.attempt import Outcome
from appliance.acme.jws import SigningKey
from appliance.acme.renewal import CertificateFacts, Problem
from appliance.acme.storage import Storage
from appliance.config.loader import load
from appliance.service import renewals as module
from appliance.service.renewals import Renewals
from appliance.system.work_thread import WorkThread
from tests.acme.authority import Authority
from tests.checks.running import write_home
from tests.conftest import Logged

NAME = "sidebar.test"
FACTS = CertificateFacts(serial="1", begins=1_790_000_000.0, ends=1_797_776_000.0, directory="https://ca.example/dir")


class World:
    """A steward's renewals, with what the next child answers."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, ca: Path | None = None, account_key: bytes = b""
    ) -> None:
        trusted = f'ca = "{ca}"' if ca is not None else ""
        config = write_home(folder, more=f'[acme]\ndomains = ["{NAME}"]\ndirectory = "{url}"\n{trusted}')
        deployment = SimpleNamespace(settings=load(config, {}), acme_secrets=(b"", account_key))
        self.status = SimpleNamespace(challenged=False)
        context: Any = SimpleNamespace(deployment=deployment, row=SimpleNamespace(status=self.status))
        self.renewals = Renewals(context, (), WorkThread("test"))
        self.storage = Storage(folder / "state" / "acme")
        self.answer: Outcome | str = Outcome()
        if ca is None:
            monkeypatch.setattr(self.renewals, "_run_child", self._run_child)

    async def _run_child(self, _name: str) -> Outcome | str:
        assert self.status.challenged
        return self.answer

    def look(self, answer: Outcome | str | None = None) -> None:
        if answer is not None:
            self.answer = answer
        asyncio.run(self.renewals._look(NAME))
        assert not self.status.challenged


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, "https://ca.example/dir")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_new_certificate_is_logged_the_first_one_too(world: World, logged: Logged, *, is_first: bool) -> None:
    world.look(Outcome(renewed=FACTS, is_first=is_first, next_attempt=FACTS.ends))
    line = logged.take("certificate_renewed")
    assert (line["name"], line["first"], line["directory"]) == (NAME, is_first, FACTS.directory)
    assert line["ends"] == line["next_attempt"] == "2026-12-20T14:13:20+00:00"


def test_a_kind_of_problem_is_logged_once(world: World, logged: Logged) -> None:
    problem = Problem(kind="dns", sentence="no such name; add one", at=0.0)
    world.look(Outcome(problem=problem, is_new_problem=True, next_attempt=FACTS.begins))
    assert logged.take("certificate_renewal_failed")["why"] == "no such name; add one"
    for _ in range(3):
        world.look(Outcome(problem=problem, next_attempt=FACTS.begins))


def test_a_disk_that_is_full_is_said_once_and_again_when_it_was_not(world: World, logged: Logged) -> None:
    full = "/state/acme: No space left on device; free some space, or correct the owner of the state folder"
    for _ in range(2):
        for _ in range(3):
            world.look(full)
        assert logged.take("certificate_renewal_failed")["why"] == full
        [info] = world.renewals.info(time.time())
        assert (info.problem, info.days_left) == (full, None)
        assert not world.renewals._is_due(NAME)  # for ten minutes
        world.look(Outcome())
        assert world.renewals.info(time.time())[0].problem == ""


def test_a_wrong_clock_is_said_once_and_shown_until_it_is_right(world: World, logged: Logged) -> None:
    for _ in range(3):
        world.look(Outcome(clock_offset=6000.0))
    assert "100 minutes slow" in str(logged.take("clock_differs")["why"])
    assert len(world.renewals.warnings) == 1
    world.look(Outcome())
    assert world.renewals.warnings == []


def test_a_profile_that_is_unknown_is_said_once(world: World, logged: Logged) -> None:
    for _ in range(2):
        world.look(Outcome(warning="x does not offer the profile y"))
    assert logged.take("certificate_renewal_warning")["name"] == NAME
    assert world.renewals.warnings == ["x does not offer the profile y"]


def test_no_process_left_for_a_child(world: World, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    monkeypatch.undo()

    def fork() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    world.look()
    assert "Resource temporarily unavailable" in str(logged.take("certificate_renewal_failed")["why"])


@pytest.mark.parametrize("is_shared", [True, False])
def test_with_a_shared_key_every_token_has_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool
) -> None:
    """The authority may ask any of several nodes for what another has begun."""
    key, token = SigningKey.generate(), "t" * 32
    world = World(tmp_path, monkeypatch, "https://ca.example/dir", account_key=key.pem if is_shared else b"")
    world.storage.prepare()
    world.storage.write_challenge("m" * 32, b"mine")
    expected = f"{token}.{key.thumbprint}".encode() if is_shared else None
    assert world.renewals._answer(token) == expected
    assert world.renewals._answer("../state.json") is None
    assert (world.renewals._answer("m" * 32) == b"mine") is not is_shared


# With a child that asks


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, Authority]]:
    with Authority(tmp_path) as authority:
        yield World(tmp_path, monkeypatch, authority.url, authority.ca), authority


def test_a_look_that_runs_is_finished_at_the_end(asking: tuple[World, Authority], logged: Logged) -> None:
    """A reload in the middle of an order: it ends, and no other begins."""
    world, authority = asking

    async def reload() -> None:
        running = asyncio.create_task(world.renewals.run())
        while not authority.requests:
            await asyncio.sleep(0.001)
        await world.renewals.finish()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(reload())
    logged.take("certificate_renewed")
    assert world.storage.pair_file(NAME).exists()
    assert not world.storage.has_order(NAME)


def test_a_look_that_does_not_end_is_killed_and_goes_on_later(
    asking: tuple[World, Authority], monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """The next one is no earlier than what was written down, and finds the order."""
    world, authority = asking
    monkeypatch.setattr(module, "_FINISH", 0.05)
    authority.verdict_after = 10**9

    async def reload() -> None:
        running = asyncio.create_task(world.renewals.run())
        while not authority.issued:
            await asyncio.sleep(0.001)
        await world.renewals.finish()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(reload())
    state = world.storage.state(NAME)
    assert world.storage.has_order(NAME)
    assert state.next_attempt > time.time() + 30
    authority.verdict_after = 0
    world.look()
    assert not world.storage.pair_file(NAME).exists()
    monkeypatch.setattr(time, "time", lambda: state.next_attempt + 1)
    world.look()
    logged.take("certificate_renewed")
    assert len(authority.issued) == 1


def test_without_acme_nothing_of_it_is_imported() -> None:
    """A start costs nothing more: in a process of its own, for here it is imported."""
    code = (
        "import sys, appliance.cli.serve, appliance.service.startup, appliance.service.children;"
        "print([name for name in sys.modules if name.startswith('appliance.acme')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
