"""What every test has: a log in which nothing unexpected may stand."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from appliance.observe import logs

# What hypothesis finds by chance is found at a desk; what CI says of a commit, it says every time.
settings.register_profile("ci", derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


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
        """Give the lines that nobody expected."""
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
