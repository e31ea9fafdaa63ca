"""The processes of a run: started together, listened to, and ended with the one that started them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Final

import msgspec
import uvloop

from appliance.errors import SidebardError
from appliance.replay.driver import Driver
from appliance.replay.plan import Plan, Shot
from appliance.replay.result import Course, Point
from appliance.replay.tally import HINTS, Ended, Message, Ready
from appliance.replay.target import Target

_HEAD_START: Final = 0.05  # seconds from the last one's being ready to the common start
_encode: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Message)
_SIGINT: Final = frozenset({signal.SIGINT})
_GO: Final = msgspec.msgpack.Decoder(float)


class CrewFault(SidebardError):
    """The run cannot go on: a process of the generator died, or nothing works; the text is a sentence."""


class Crew:
    """Forks the processes of a plan, and puts together what they tell."""

    def __init__(self, plan: Plan, target: Target, shots: Sequence[Shot]) -> None:
        """The calling process must have no other threads. SIGINT is blocked from here on, but where `run` waits."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGINT)
        self._plan = plan
        self._pipes: list[Connection] = []
        self.course: Final = Course(plan)
        self.ends: Final[list[Ended]] = []
        self.interrupted = False
        self._url = target.url.text
        fork = multiprocessing.get_context("fork")
        for process in range(plan.processes):
            ours, theirs = fork.Pipe()
            self._pipes.append(ours)
            others = tuple(self._pipes)  # a pipe is at its end when nobody holds the other one: not these either
            arguments = (plan, target, shots, process, theirs, others)
            fork.Process(target=_work, args=arguments, daemon=True).start()
            theirs.close()

    def run(self, show: Callable[[Point, Course], None]) -> None:
        """Run to the end; `show` is called as time goes on. An interrupt ends it early. Raises CrewFault.

        A run in which nothing works, and all for one reason, is not continued: there is nothing to measure.
        """
        running, unready = list(self._pipes), len(self._pipes)
        opened = Ready()
        while running:
            try:
                ready = _wait(running)
                for pipe in [pipe for pipe in running if pipe in ready]:
                    message = self._receive(pipe)
                    if isinstance(message, Ready):
                        unready -= 1
                        _add(opened, message)
                        if not unready:
                            if not opened.opened:
                                self._stop_if_alike("connections", opened.failures, 1)
                            self._send(time.monotonic() + _HEAD_START)
                    elif isinstance(message, Ended):
                        self.ends.append(message)
                        running.remove(pipe)
                    else:
                        point = self.course.add(message, len(running))
                        if not self.course.counts.statuses:
                            self._stop_if_alike("requests", self.course.counts.failures, self._plan.connections)
                        if point is not None:
                            show(point, self.course)
            except KeyboardInterrupt:
                if self.interrupted:
                    raise
                self.interrupted = True
                self._send(0.0)
        self.course.finish()

    def _stop_if_alike(self, what: str, failures: Mapping[str, int], least: int) -> None:
        """Raise CrewFault if at least so many failed, and all of them alike."""
        if len(failures) == 1 and sum(failures.values()) >= least:
            (kind,) = failures
            todo = HINTS.get(kind, "look at what answers there, and correct --url")
            raise CrewFault(f"{self._url} cannot be tested: the first {what} all failed: {kind}; {todo}")

    def close(self) -> None:
        """Let the processes end, those that still run too."""
        for pipe in self._pipes:
            pipe.close()

    def _send(self, begin: float) -> None:
        """Have all begin at this moment of time.monotonic(); 0: stop."""
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):  # one that has ended
                pipe.send_bytes(_encode(begin))

    @staticmethod
    def _receive(pipe: Connection) -> Message:
        try:
            message: Message = _DECODER.decode(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            raise CrewFault("a process of the load test died; see above why, or whether the kernel killed it") from None
        return message


def _wait(pipes: Sequence[Connection]) -> list[object]:
    """Return which of them can be read. Raises KeyboardInterrupt, which nothing else in a run does."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)
    try:
        return list(wait(pipes))
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGINT)


def _add(whole: Ready, part: Ready) -> None:
    whole.opened += part.opened
    for kind, count in part.failures.items():
        whole.failures[kind] = whole.failures.get(kind, 0) + count


def _work(
    plan: Plan,
    target: Target,
    shots: Sequence[Shot],
    process: int,
    pipe: Connection,
    others: Sequence[Connection],
) -> None:
    """Be one process of the crew."""
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)
    gc.freeze()  # the requests are shared and stay
    uvloop.run(_drive(plan, target, shots, process, pipe))


async def _drive(plan: Plan, target: Target, shots: Sequence[Shot], process: int, pipe: Connection) -> None:
    def tell(message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody is left who would listen
            pipe.send_bytes(_encode(message))

    driver = Driver(plan, target, shots, process, tell=tell, timer=time.monotonic)
    going: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def listen() -> None:
        """Take the start, and then the word to stop: a message or the end of the pipe."""
        try:
            begin = _GO.decode(pipe.recv_bytes())
        except EOFError:
            begin = 0.0
            asyncio.get_running_loop().remove_reader(pipe.fileno())
        if not going.done():
            going.set_result(begin)
        else:
            driver.stop()

    asyncio.get_running_loop().add_reader(pipe.fileno(), listen)
    tell(await driver.open())
    begin = await going
    if not begin:
        tell(Ended(0, 0.0, 0.0))
        return
    before = _cpu()
    seconds = await driver.run(begin)
    tell(Ended(driver.unsent, _cpu() - before, seconds))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
