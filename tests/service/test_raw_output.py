"""What a process writes past the log: taken apart into events, within bounds, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from appliance.observe.writer import MAX_PIECE
from appliance.service.raw_output import BURST, RATE, TELL_EVERY, TEXT, Mouth, RawOutput
from tests.conftest import Logged


class Speaker:
    """The pipe of a process, and the supervisor's end of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.raw = RawOutput(lambda: self.now)
        mouth = self.raw.open("worker")
        assert isinstance(mouth, Mouth)
        self.write_end = os.dup(mouth.write_end)
        self.raw.listen_to(mouth, 42)

    def say(self, said: bytes) -> int:
        return os.write(self.write_end, said)

    def end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1
        self.raw.listen()


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    made = Speaker()
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
def test_becomes_events(speaker: Speaker, logged: Logged, said: list[bytes], told: list[str] | None) -> None:
    for piece in said:
        speaker.say(piece)
        speaker.raw.listen()
    speaker.end()
    if told is None:
        told = texts(logged)
        assert "\n".join(told) == b"".join(said).decode().strip("\n")
        assert all(0 < len(text) <= TEXT for text in told)
    else:
        assert texts(logged) == told
    assert all(len(line) < MAX_PIECE for line in logged.stream.getvalue().splitlines())


def test_the_begin_of_a_line_is_told_once_nothing_follows(speaker: Speaker, logged: Logged) -> None:
    speaker.say(b"begin")
    speaker.raw.listen()
    assert texts(logged) == []
    speaker.raw.listen()
    assert texts(logged) == ["begin"]


def test_more_than_is_allowed_is_counted(speaker: Speaker, logged: Logged) -> None:
    line = b"x" * 99 + b"\n"
    speaker.say(line * 400)
    speaker.raw.listen()
    assert sum(map(len, texts(logged))) <= BURST
    assert logged.take("stderr_dropped")["bytes"] == 40_000 - BURST
    for _ in range(10):  # within a minute it is counted and not said
        speaker.say(line)
        speaker.raw.listen()
    assert texts(logged) == []
    speaker.now += TELL_EVERY
    speaker.raw.listen()
    assert logged.take("stderr_dropped")["bytes"] == 1000
    speaker.say(line * 400)
    speaker.raw.listen()
    assert sum(map(len, texts(logged))) <= TELL_EVERY * RATE
    speaker.end()
    assert logged.take("stderr_dropped")["bytes"] == 40_000 - TELL_EVERY * RATE


def test_a_full_pipe_is_not_waited_for(speaker: Speaker, logged: Logged) -> None:
    for _ in range(16):
        speaker.say(b"x" * 4096)
    with pytest.raises(BlockingIOError):
        speaker.say(b"x")
    speaker.end()
    texts(logged)
    logged.take("stderr_dropped")


def test_a_process_that_has_ended_is_let_go(speaker: Speaker) -> None:
    before = len(os.listdir("/proc/self/fd"))
    speaker.end()
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_without_a_descriptor_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe2(_flags: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", pipe2)
    raw = RawOutput(lambda: 0.0)
    assert raw.open("worker") is None
    raw.listen_to(None, 42)
    raw.give_up(None)
    raw.listen()
