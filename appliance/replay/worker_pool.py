"""The processes of a load test. They start together, and end with the process that forked them."""

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
from appliance.http_client import HINTS
from appliance.replay.driver import Driver
from appliance.replay.interval_stats import Ended, Message, Ready
from appliance.replay.load_profile import LoadProfile, PreparedRequest
from appliance.replay.target import LoadTarget
from appliance.replay.timeline import Timeline, TimelinePoint

_HEAD_START: Final = 0.05  # seconds between the last process's being ready and the common start
_encode: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Message)
_SIGINT: Final = frozenset({signal.SIGINT})
_GO: Final = msgspec.msgpack.Decoder(float)


class LoadTestError(SidebardError):
    """The load test cannot go on: a process died, or nothing works; the text is a sentence."""


class WorkerPool:
    """Forks the processes, and collects what they report."""

    def __init__(self, profile: LoadProfile, target: LoadTarget, requests: Sequence[PreparedRequest]) -> None:
        """The calling process must have no other threads. SIGINT is blocked from here on, except where `run` waits."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGINT)
        self._profile = profile
        self._pipes: list[Connection] = []
        self.timeline: Final = Timeline(profile)
        self.ends: Final[list[Ended]] = []
        self.interrupted = False
        self._url = target.url.text
        fork = multiprocessing.get_context("fork")
        for process in range(profile.processes):
            ours, theirs = fork.Pipe()
            self._pipes.append(ours)
            others = tuple(self._pipes)  # to be closed there: a pipe ends when no process holds its other end
            arguments = (profile, target, requests, process, theirs, others)
            fork.Process(target=_work, args=arguments, daemon=True).start()
            theirs.close()

    def run(self, show: Callable[[TimelinePoint, Timeline], None]) -> None:
        """Run to the end; `show` is called for each interval. An interrupt ends it early. Raises LoadTestError.

        If nothing works, and always for the same reason, it stops: there is nothing to measure.
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
                        point = self.timeline.add(message, len(running))
                        if not self.timeline.counts.statuses:
                            self._stop_if_alike("requests", self.timeline.counts.failures, self._profile.connections)
                        if point is not None:
                            show(point, self.timeline)
            except KeyboardInterrupt:
                if self.interrupted:
                    raise
                self.interrupted = True
                self._send(0.0)
        self.timeline.finish()

    def _stop_if_alike(self, what: str, failures: Mapping[str, int], least: int) -> None:
        """Raise LoadTestError if at least `least` failed, and all for the same reason."""
        if len(failures) == 1 and sum(failures.values()) >= least:
            (kind,) = failures
            hint = HINTS.get(kind, "check what is listening there, and correct --url")
            raise LoadTestError(f"{self._url} cannot be tested: the first {what} all failed: {kind}; {hint}")

    def close(self) -> None:
        """Close the pipes, which ends the processes that are still running."""
        for pipe in self._pipes:
            pipe.close()

    def _send(self, begin: float) -> None:
        """Have all processes begin at this time of time.monotonic(); 0: stop."""
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):  # one that has ended
                pipe.send_bytes(_encode(begin))

    @staticmethod
    def _receive(pipe: Connection) -> Message:
        try:
            message: Message = _DECODER.decode(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            raise LoadTestError(
                "a process of the load test died; see the lines above, or the system log (out of memory?)"
            ) from None
        return message


def _wait(pipes: Sequence[Connection]) -> list[object]:
    """Return the pipes that can be read. Only here can a KeyboardInterrupt be raised."""
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
    profile: LoadProfile,
    target: LoadTarget,
    requests: Sequence[PreparedRequest],
    process: int,
    pipe: Connection,
    others: Sequence[Connection],
) -> None:
    """Run one process of the pool."""
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the first one decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)
    gc.freeze()  # the requests are shared and stay
    uvloop.run(_drive(profile, target, requests, process, pipe))


async def _drive(
    profile: LoadProfile, target: LoadTarget, requests: Sequence[PreparedRequest], process: int, pipe: Connection
) -> None:
    def tell(message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):  # the first process has gone
            pipe.send_bytes(_encode(message))

    driver = Driver(profile, target, requests, process, tell=tell, timer=time.monotonic)
    going: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def listen() -> None:
        """Receive the start time, and later the order to stop: a message or the end of the pipe."""
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
    tell(Ended(driver.not_started, _cpu() - before, seconds))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
