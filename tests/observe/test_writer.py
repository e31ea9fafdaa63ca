"""The log's writer: whole lines, no waiting, and a count of what was lost."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Iterator

import msgspec
import pytest

from appliance.observe import writer as module
from appliance.observe.writer import FLUSH_AFTER, FLUSH_AT, MAX_PENDING, MAX_PIECE, Writer
from tests.fakes import FakeLoop

LINE = b"x" * 99 + b"\n"


class Pipe:
    """A pipe that holds one page, and a writer to it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, MAX_PIECE)
        self.loop = FakeLoop()
        self.naps: list[float] = []
        self.writer = Writer(self.write_end, sleep=self.naps.append, find_loop=self.loop.find)

    def read(self) -> bytes:
        return os.read(self.read_end, 1024 * 1024)

    def close(self) -> None:
        for end in (self.read_end, self.write_end):
            if end >= 0:
                os.close(end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_writes_at_once_without_a_loop(pipe: Pipe) -> None:
    pipe.writer.write(LINE)
    assert pipe.read() == LINE


def test_writes_in_batches_with_one(pipe: Pipe) -> None:
    pipe.loop.running = True
    for _ in range(3):
        pipe.writer.write(LINE)
    assert len(pipe.loop.waiting) == 1
    assert pipe.loop.turn() == FLUSH_AFTER <= 0.05
    assert pipe.read() == 3 * LINE
    assert not pipe.loop.waiting


def test_writes_at_once_again_when_the_loop_has_ended(pipe: Pipe) -> None:
    pipe.loop.running = True
    pipe.writer.write(LINE)
    pipe.loop.running = False
    pipe.writer.flush()
    assert pipe.read() == LINE


def test_finds_the_loop_that_runs(pipe: Pipe) -> None:
    """In a child that was forked from a process with a running loop there is none, so its lines are written at once."""
    found: list[bool] = []

    async def main() -> int:
        found.append(module.running_loop() is asyncio.get_running_loop())
        pid = os.fork()
        if pid == 0:
            os._exit(int(module.running_loop() is not None))
        return os.waitpid(pid, 0)[1]

    assert asyncio.run(main()) == 0
    assert (found, module.running_loop()) == ([True], None)


def test_does_not_wait_for_the_time_when_there_is_much(pipe: Pipe) -> None:
    pipe.loop.running = True
    for _ in range(FLUSH_AT // len(LINE) + 1):
        pipe.writer.write(LINE)
    assert len(pipe.read()) > MAX_PIECE - len(LINE)


def test_writes_whole_lines_in_pieces_that_a_pipe_takes_whole(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[bytes] = []

    def write(descriptor: int, piece: bytes) -> int:
        pieces.append(bytes(piece))
        return len(piece)

    monkeypatch.setattr(os, "write", write)
    pipe.loop.running = True
    lines = [b"y" * length + b"\n" for length in (1, 4095, 4000, 94, 95, 4095, 10)]
    for line in lines:
        pipe.writer.write(line)
    pipe.writer.flush()
    assert b"".join(pieces) == b"".join(lines)
    assert all(len(piece) <= MAX_PIECE and piece.endswith(b"\n") for piece in pieces)
    assert [len(piece) for piece in pieces] == [2, 4096, 4096, 96, 4096, 11]


def test_a_full_pipe_is_tried_again_later_and_less_often(pipe: Pipe) -> None:
    pipe.loop.running = True
    for _ in range(100):
        pipe.writer.write(LINE)
    waits = [pipe.loop.turn() for _ in range(10)]
    assert waits == [0.025, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.05]
    read = b""
    while pipe.loop.waiting:
        read += pipe.read()
        pipe.loop.turn()
    assert (read + pipe.read()).count(LINE) == 100
    assert pipe.writer.dropped == 0


def test_drops_and_counts_what_nobody_reads(pipe: Pipe) -> None:
    pipe.loop.running = True
    fit = MAX_PENDING // len(LINE) + MAX_PIECE // len(LINE)
    for _ in range(fit + 1000):
        pipe.writer.write(LINE)
    assert 990 <= pipe.writer.dropped <= 1010
    assert len(pipe.loop.waiting) == 1


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    pipe.read_end = -1
    pipe.writer.write(LINE)
    assert pipe.writer.dropped == 1


def test_waits_a_little_at_the_end_and_no_longer(pipe: Pipe) -> None:
    for _ in range(200):
        pipe.writer.write(LINE)
    assert pipe.naps == []
    pipe.writer.close()
    assert sum(pipe.naps) == pytest.approx(0.5)
    assert pipe.writer.dropped == 200 - pipe.read().count(LINE)


def test_a_child_does_not_write_what_its_parent_will(pipe: Pipe) -> None:
    pipe.loop.running = True
    pipe.writer.write(LINE)
    pid = os.fork()
    if pid == 0:
        pipe.loop.running = False
        pipe.writer.write(b"child\n")
        os._exit(0)
    os.waitpid(pid, 0)
    assert pipe.read() == b"child\n"
    pipe.writer.flush()
    assert pipe.read() == LINE


def test_a_child_that_has_closed_its_descriptors_writes_to_stderr(pipe: Pipe) -> None:
    pid = os.fork()
    if pid == 0:
        os.dup2(pipe.write_end, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        pipe.writer.write(LINE)
        os._exit(0)
    os.waitpid(pid, 0)
    assert pipe.read() == LINE


def test_another_process_in_the_middle_of_a_piece_is_waited_for(pipe: Pipe) -> None:
    ready_read, ready_write = os.pipe()
    end_read, end_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        fcntl.lockf(pipe.writer._lock, fcntl.LOCK_EX)
        os.write(ready_write, b".")
        os.read(end_read, 1)
        os._exit(0)
    os.read(ready_read, 1)
    pipe.loop.running = True
    pipe.writer.write(LINE)
    assert pipe.loop.turn() == FLUSH_AFTER
    assert len(pipe.loop.waiting) == 1
    os.write(end_write, b".")
    os.waitpid(pid, 0)
    pipe.loop.turn()
    assert pipe.read() == LINE
    for descriptor in (ready_read, ready_write, end_read, end_write):
        os.close(descriptor)


def test_a_prefix_stands_before_each_value(pipe: Pipe) -> None:
    writer = Writer(pipe.write_end, prefix=b"<6>", find_loop=pipe.loop.find)
    pipe.loop.running = True
    for number in range(3):
        writer.take(Value(f"{number}\n"))
    writer.write(b"as it is\n")
    pipe.loop.turn()
    assert pipe.read() == b'<6>{"text":"0\\n"}\n<6>{"text":"1\\n"}\n<6>{"text":"2\\n"}\nas it is\n'


class Value(msgspec.Struct):
    """A line that is still to be encoded."""

    text: str


def test_a_line_of_another_thread_is_written_with_the_next_flush(pipe: Pipe) -> None:
    pipe.loop.running = True
    thread = threading.Thread(target=lambda: (pipe.writer.write(LINE), pipe.writer.flush()))
    thread.start()
    thread.join()
    assert pipe.loop.waiting == []  # a loop's timers are for its own thread
    assert pipe.writer.flush()
    assert pipe.read() == LINE


def test_a_line_in_the_middle_of_a_write_comes_after_it(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a finalizer, which runs wherever memory is allocated."""
    write, inner = os.write, b"inner\n"

    def interrupted(descriptor: int, piece: bytes) -> int:
        if not piece.startswith(inner):
            pipe.writer.write(inner)
            pipe.writer.flush()
        return write(descriptor, piece)

    fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, 16 * MAX_PIECE)  # each write takes a page
    monkeypatch.setattr(os, "write", interrupted)
    for _ in range(2):
        pipe.writer.take(Value("outer"))
        pipe.writer.flush()
    pipe.writer.flush()
    outer = b'{"text":"outer"}\n'
    assert pipe.read() == outer + inner + outer + inner


def test_deferred_lines_are_bounded(pipe: Pipe) -> None:
    thread = threading.Thread(target=lambda: [pipe.writer.write(LINE) for _ in range(module._MAX_DEFERRED + 5)])
    thread.start()
    thread.join()
    assert pipe.writer.dropped == 5
