"""The audit trail: who is recorded, and what becomes of the lines when the disk does not take them."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from collections.abc import Awaitable, Callable

import pytest

from appliance.observe import audit_trail as module
from appliance.observe.audit_trail import AuditTrail
from appliance.observe.health import SupervisorStatus, Workers, examine
from appliance.observe.shared_counters import SharedCounters
from appliance.outcomes import Outcome, Reply, Response
from appliance.sidebar.protocols.base import BAD_SIGNATURE
from tests.conftest import Logged
from tests.factory import NOW, Timer

FOUND = Reply(Response(200, b"{}", "text/html"), Outcome.FOUND, conversation=1, mailbox=2, agent=3, customer="abc")
UNKNOWN = Reply(Response(200, b"{}", "text/html"), Outcome.UNKNOWN, agent=3, customer="def", address="bob@example.com")


class Disk:
    """Takes batches, unless something is wrong with it."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.fault = 0
        self.free = threading.Event()
        self.free.set()
        self.tried = 0

    def append(self, lines: bytes) -> None:
        self.free.wait()
        self.tried += 1
        if self.fault:
            raise OSError(self.fault, "no")
        self.batches.append(lines)

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in b"".join(self.batches).splitlines()]


class Made:
    """A trail, with what it is made of."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.shared = SharedCounters(["helpscout"], 1)
        self.counters = self.shared.worker(0).counters
        self.trail = AuditTrail(self.disk, self.counters, Timer(NOW))

    def note(self, *replies: Reply) -> None:
        for reply in replies:
            self.trail.write(reply, "helpscout", 100, "127.0.0.1")

    def health_says(self) -> list[str]:
        totals = self.shared.totals()
        workers = Workers(wanted=0, ready=0, restarts=0, generations=())
        return examine(NOW, SupervisorStatus(), workers, None, None, None, {}, totals.trail_error).reasons

    async def until(self, look: Callable[[], bool]) -> None:
        while not look():
            await asyncio.sleep(0.001)


def run(body: Callable[[Made], Awaitable[None]]) -> Made:
    async def main() -> Made:
        made = Made()
        await asyncio.wait_for(body(made), 20)
        return made

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_AFTER", 0.001)
    monkeypatch.setattr(module, "RETRY_AFTER", 0.001)


def test_holds_who_looked_at_whom_and_when() -> None:
    async def body(made: Made) -> None:
        made.note(FOUND, UNKNOWN)
        await made.trail.close()

    facts = {"timestamp": "2026-09-21T14:13:20.000Z", "app": "helpscout"}
    assert run(body).disk.lines == [
        facts | {"outcome": "found", "agent": 3, "conversation": 1, "mailbox": 2, "customer": "abc"},
        facts
        | {"outcome": "unknown", "agent": 3, "conversation": None, "mailbox": None, "customer": "def"}
        | {"address": "bob@example.com"},
    ]


def test_who_looked_at_nobody_is_not_in_it() -> None:
    async def body(made: Made) -> None:
        made.note(BAD_SIGNATURE, Reply(Response(200, b"{}", "text/html"), Outcome.DRAFT), FOUND)
        await made.trail.close()

    assert [line["outcome"] for line in run(body).disk.lines] == ["found"]


def test_what_waits_is_known_to_all_processes_and_written_by_and_by() -> None:
    async def body(made: Made) -> None:
        made.disk.free.clear()
        made.note(*[FOUND] * 200)
        assert made.counters.trail_waiting == 200
        made.disk.free.set()
        await made.until(lambda: made.counters.trail_waiting == 0)
        made.note(FOUND)
        await made.until(lambda: made.counters.trail_waiting == 0)

    assert len(run(body).disk.lines) == 201


def test_a_full_disk_is_said_once_and_tried_again(logged: Logged) -> None:
    async def body(made: Made) -> None:
        made.disk.fault = errno.ENOSPC
        made.note(FOUND, FOUND)
        await made.until(lambda: made.disk.tried > 3)
        made.note(UNKNOWN)
        assert made.shared.totals().trail_error == errno.ENOSPC
        assert made.counters.trail_waiting == 3
        made.disk.fault = 0
        await made.until(lambda: made.counters.trail_waiting == 0)
        assert made.shared.totals().trail_error == 0

    assert [line["customer"] for line in run(body).disk.lines] == ["abc", "abc", "def"]
    assert logged.take("trail_failed") | {"timestamp": ""} == {
        "timestamp": "",
        "level": "error",
        "event": "trail_failed",
        "why": "No space left on device",
        "waiting": 2,
    }
    assert logged.take("trail_recovered")["lost"] == 0


def test_when_too_many_wait_the_next_are_lost_and_counted(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 100)

    async def body(made: Made) -> None:
        made.disk.free.clear()  # it hangs
        made.note(*[FOUND] * 110)
        assert made.counters.trail_waiting == 100
        assert made.shared.totals().trail_lost == 10
        assert made.shared.totals().trail_error == errno.EBUSY
        made.disk.free.set()
        await made.until(lambda: made.counters.trail_waiting == 0)
        made.disk.free.clear()  # and again
        made.note(*[FOUND] * 101)
        made.disk.free.set()
        await made.until(lambda: made.counters.trail_waiting == 0)

    assert len(run(body).disk.lines) == 200
    assert [logged.take("trail_failed")["why"] for _ in range(2)] == ["Device or resource busy"] * 2
    assert [logged.take("trail_recovered")["lost"] for _ in range(2)] == [10, 1]


THREADS = [
    pytest.param(RuntimeError("can't start new thread"), "no thread can be started; raise", id="no thread"),
    pytest.param(MemoryError(), "Cannot allocate memory", id="no memory for one"),
]


@pytest.mark.parametrize(("error", "why"), THREADS)
def test_a_thread_that_cannot_start_is_said_and_tried_again(
    error: Exception, why: str, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, and nothing written twice: a ThreadPoolExecutor keeps what it could not start a thread for."""
    real, tried = threading.Thread.start, []

    def fails(thread: threading.Thread) -> None:
        tried.append(thread)
        raise error

    async def body(made: Made) -> None:
        monkeypatch.setattr(threading.Thread, "start", fails)
        made.note(FOUND, FOUND)
        await made.until(lambda: len(tried) > 3)
        made.note(UNKNOWN)
        assert made.counters.trail_waiting == 3
        assert why in str(made.health_says())
        monkeypatch.setattr(threading.Thread, "start", real)
        await made.until(lambda: made.counters.trail_waiting == 0)
        made.note(UNKNOWN)
        await made.trail.close()
        assert made.shared.totals().trail_lost == 0

    assert [line["customer"] for line in run(body).disk.lines] == ["abc", "abc", "def", "def"]
    assert why in str(logged.take("trail_failed")["why"])
    assert logged.take("trail_recovered")["lost"] == 0


def test_what_nobody_thought_of_does_not_stop_it(logged: Logged) -> None:
    async def body(made: Made) -> None:
        append, made.trail._append = made.trail._append, lambda lines: lines.decode("ascii", 7)  # type: ignore
        made.note(FOUND)
        await made.until(lambda: made.shared.totals().trail_error == errno.EIO)
        made.trail._append = append
        await made.until(lambda: made.counters.trail_waiting == 0)

    assert len(run(body).disk.lines) == 1
    logged.take("trail_failed")
    logged.take("trail_recovered")


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
def test_the_end_waits_for_no_broken_disk(hangs: bool, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_EXIT", 0.05 if hangs else 20)

    async def body(made: Made) -> None:
        if hangs:
            made.disk.free.clear()
        else:
            made.disk.fault = errno.EIO
        made.note(FOUND, FOUND)
        await made.trail.close()
        assert (made.counters.trail_waiting, made.shared.totals().trail_lost) == (0, 2)
        made.disk.free.set()

    run(body)
    if not hangs:
        logged.take("trail_failed")
    assert logged.take("trail_lines_lost")["count"] == 2
