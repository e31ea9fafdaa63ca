"""What a process writes past the log: taken apart into events, within bounds, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from appliance.observe.writer import MAX_PIECE
from appliance.system.raw_output import BURST, RATE, TELL_EVERY, TEXT, ProcessPipe, RawOutput
from tests.conftest import Logged


class Process:
    """The pipe of a process, and the supervisor's end of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.raw = RawOutput(lambda: self.now)
        pipe = self.raw.open("worker")
        assert isinstance(pipe, ProcessPipe)
        self.write_end = os.dup(pipe.write_end)
        self.raw.watch(pipe, 42)

    def say(self, said: bytes) -> int:
        return os.write(self.write_end, said)

    def end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1
        self.raw.read()


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    if made.write_end >= 0:
        made.end()
    made.raw.close()


def texts(logged: Logged) -> list[str]:
    """Take all events that have a text."""
    lines = [line for line in logged.rest() if line["event"] == "stderr"]
    for line in lines:
        assert (line["level"], line["process"], line["pid"]) == ("warning", "worker", 42)
        assert "shortened" not in line
        logged.lines.remove(line)
    return [str(line["text"]) for line in lines]


LONG = "é" * TEXT
CASES = {
    "a line": ([b"one\n"], ["one"]),
    "lines together": ([b"one\n\n  two\n"], ["one\n\n  two"]),
    "a line in two parts": ([b"on", b"e\n"], ["one"]),
    "a line without its end": ([b"one"], ["one"]),
    "empty lines": ([b"\n\n"], []),
    "no UTF-8": ([b"\xff\xfe\n"], ["\ufffd\ufffd"]),
    "a terminal's commands": ([b"\x1b[2Jone\x07\0\r\n"], ["\ufffd[2Jone\ufffd\ufffd\ufffd"]),
    "a line that is too long": ([LONG.encode() + b"x\n"], [LONG, "x"]),
    "lines that do not fit into one event": ([b"x" * TEXT + b"\n" + b"y" * TEXT], ["x" * TEXT, "y" * TEXT]),
    "what takes most room as JSON": ([b'"\\\n' * TEXT], None),
    "what takes most room as UTF-8": (["\U0001f600".encode() * TEXT], ["\U0001f600" * TEXT]),
}


@pytest.mark.parametrize(("said", "told"), CASES.values(), ids=CASES.keys())
def test_becomes_events(process: Process, logged: Logged, said: list[bytes], told: list[str] | None) -> None:
    for piece in said:
        process.say(piece)
        process.raw.read()
    process.end()
    if told is None:
        told = texts(logged)
        assert "\n".join(told) == b"".join(said).decode().strip("\n")
        assert all(0 < len(text) <= TEXT for text in told)
    else:
        assert texts(logged) == told
    assert all(len(line) < MAX_PIECE for line in logged.stream.getvalue().splitlines())


def test_the_begin_of_a_line_is_told_once_nothing_follows(process: Process, logged: Logged) -> None:
    process.say(b"begin")
    process.raw.read()
    assert texts(logged) == []
    process.raw.read()
    assert texts(logged) == ["begin"]


def test_more_than_is_allowed_is_counted(process: Process, logged: Logged) -> None:
    line = b"x" * 99 + b"\n"
    process.say(line * 400)
    process.raw.read()
    assert sum(map(len, texts(logged))) <= BURST
    assert logged.take("stderr_dropped")["bytes"] == 40_000 - BURST
    for _ in range(10):  # within a minute it is counted and not said
        process.say(line)
        process.raw.read()
    assert texts(logged) == []
    process.now += TELL_EVERY
    process.raw.read()
    assert logged.take("stderr_dropped")["bytes"] == 1000
    process.say(line * 400)
    process.raw.read()
    assert sum(map(len, texts(logged))) <= TELL_EVERY * RATE
    process.end()
    assert logged.take("stderr_dropped")["bytes"] == 40_000 - TELL_EVERY * RATE


def test_a_full_pipe_is_not_waited_for(process: Process, logged: Logged) -> None:
    for _ in range(16):
        process.say(b"x" * 4096)
    with pytest.raises(BlockingIOError):
        process.say(b"x")
    process.end()
    texts(logged)
    logged.take("stderr_dropped")


def test_a_process_that_has_ended_is_let_go(process: Process) -> None:
    before = len(os.listdir("/proc/self/fd"))
    process.end()
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_without_a_descriptor_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe2(_flags: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", pipe2)
    raw = RawOutput(lambda: 0.0)
    assert raw.open("worker") is None
    raw.watch(None, 42)
    raw.discard(None)
    raw.read()
