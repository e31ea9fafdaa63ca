"""What every test has: a log in which nothing unexpected may stand, and a table for what it measured."""

from __future__ import annotations

import gc
import io
import json
import os
import posix
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import settings

from appliance.customers.id_map import IdMap
from appliance.observe import logs

# What hypothesis finds by chance is found at a desk; what CI says of a commit, it says every time.
# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


DESCRIPTORS = 20_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the system tests at their full length")


class Logged:
    """The lines that were logged and not expected yet."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()
        self._read = 0
        self.lines: list[dict[str, object]] = []

    def take(self, event: str) -> dict[str, object]:
        """Expect one line of this event, the first that is there, and give it."""
        self._collect()
        for line in self.lines:
            if line["event"] == event:
                self.lines.remove(line)
                return line
        raise AssertionError(f"no {event} was logged, but {self.lines}")

    def rest(self) -> list[dict[str, object]]:
        """Return the lines that nobody expected."""
        self._collect()
        return self.lines

    def _collect(self) -> None:
        text = self.stream.getvalue()
        self.lines += [json.loads(line) for line in text[self._read :].splitlines()]
        self._read = len(text)


@pytest.fixture(autouse=True)
def logged() -> Iterator[Logged]:
    """Fail the test if it logs a line that it did not take."""
    lines = Logged()
    logs.configure(lines.stream, lambda: 1_790_000_000.0)
    yield lines
    assert lines.rest() == []


@pytest.fixture(autouse=True)
def _closed_maps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the maps of ids that a test has opened: Python 3.13 warns of databases that nobody closes."""
    opened: list[IdMap] = []
    begin = IdMap.__init__

    def remember(self: IdMap, folder: Path) -> None:
        opened.append(self)
        begin(self, folder)

    monkeypatch.setattr(IdMap, "__init__", remember)
    yield
    for each in opened:
        each.close()


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measure no coverage in this test, nor in what it forks: for hundreds of children that takes most of the time."""
    measuring = Coverage.current()
    if measuring is not None:
        measuring.stop()
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    yield
    if measuring is not None:
        # It would register once more what it does in each forked child, and at its end: after hundreds of tests that
        # takes seconds. monkeypatch then puts back what is there now.
        monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
        monkeypatch.setattr(os, "_exit", os._exit)
        measuring.start()


MEASURED = {f"tests.service.test_{name}" for name in ("healing", "serve", "serve_inbox_api", "serve_page")}
"""Whose services are measured: that takes 0.15 s for each process, and all tests start hundreds of services."""


@pytest.fixture(autouse=True)
def _unmeasured_services(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.module.__name__ not in MEASURED:
        monkeypatch.setattr("tests.daemon.COVERAGE", {})


Measure = Callable[..., None]
TABLE = pytest.StashKey[list[tuple[str, str]]]()
"""What is shown after all tests: a name, and what there is to say."""


def pytest_configure(config: pytest.Config) -> None:
    # Under nohup, or behind "&" in a script, these are ignored, and whatever a test starts would ignore them too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A user's shell allows 1,024 until more are asked for; some tests hold both ends of a thousand connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, DESCRIPTORS), most))
    config.stash[TABLE] = []
    # Coverage's saves what was measured here again in each child that is forked. One that is measured has its own.
    os._exit = posix._exit


def pytest_collection_finish() -> None:
    # Thousands of tests stay to the end: each collection would look at all of them, for a fifth of a second.
    gc.collect()
    gc.freeze()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Iterator[Measure]:
    """Return a function that takes what was measured; it is shown after all tests, also if this one fails."""
    numbers: dict[str, object] = {}
    yield numbers.update
    name = request.node.name.removeprefix("test_").replace("_", " ")
    shown = (f"{word.replace('_', ' ')} {number}" for word, number in numbers.items())
    request.config.stash[TABLE].append((name, ", ".join(shown)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if table := config.stash[TABLE]:
        terminalreporter.section("measured")
        for row in table:
            terminalreporter.write_line("| {} | {} |".format(*row))
