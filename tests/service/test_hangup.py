"""SIGHUP is a person's word to reload, or the end of the terminal: which of both, and what follows under nohup."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from appliance.system.terminal import HANGUP, Action, Terminal
from tests.daemon import Daemon

KERNEL, PERSON = 0x80, 0
LAUNCHER = """
import fcntl, os, signal, sys, termios
if sys.argv[1] != "none":
    fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
    os.close(int(sys.argv[1]))
if sys.argv[2] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[3], sys.argv[3:])
"""


class World:
    """A clock and a terminal that a test turns off."""

    def __init__(self, *, nohup: bool, there: bool = True) -> None:
        self.now, self.there = 100.0, there
        self.terminal = Terminal(lambda: self.now, nohup=nohup, is_there=lambda: self.there)

    def close(self) -> Action | None:
        self.there = False
        return self.terminal.poll()

    def wait(self, seconds: float) -> None:
        self.now += seconds


def closed(world: World) -> None:
    assert world.close() is None


def left(world: World) -> None:
    world.there = False


def later(world: World) -> None:
    world.close()
    world.wait(HANGUP)


@pytest.mark.parametrize("nohup", [False, True], ids=["plain", "nohup"])
@pytest.mark.parametrize(
    ("there", "before", "code", "is_hangup"),
    [
        pytest.param(False, None, PERSON, False, id="never had one"),
        pytest.param(True, None, PERSON, False, id="on a terminal, from a person"),
        pytest.param(True, None, KERNEL, True, id="on a terminal, from the kernel"),
        pytest.param(True, left, PERSON, True, id="passed on by a shell whose terminal is gone"),
        pytest.param(True, left, KERNEL, True, id="the terminal is gone, from the kernel"),
        pytest.param(True, closed, PERSON, True, id="the terminal has just gone"),
        pytest.param(True, later, PERSON, False, id="the terminal is long gone"),
        pytest.param(True, later, KERNEL, True, id="the terminal is long gone, from the kernel"),
    ],
)
def test_what_a_hangup_means(
    nohup: bool, there: bool, before: Callable[[World], None] | None, code: int, is_hangup: bool
) -> None:
    world = World(nohup=nohup, there=there)
    if before is not None:
        before(world)
    after = Action.STAY if nohup else Action.STOP
    assert world.terminal.on_sighup(code) is (after if is_hangup else Action.RELOAD)


@pytest.mark.parametrize(
    ("nohup", "seconds", "meaning"),
    [(False, 0.1, Action.STOP), (True, 0.1, Action.STAY), (False, HANGUP, None), (True, HANGUP, None)],
)
def test_a_shell_that_is_left_tells_before_the_terminal_goes(
    nohup: bool, seconds: float, meaning: Action | None
) -> None:
    world = World(nohup=nohup)
    assert world.terminal.on_sighup(PERSON) is Action.RELOAD
    world.wait(seconds)
    assert world.close() is meaning
    assert world.terminal.poll() is None  # said once


class OnTerminal:
    """The service as the leader of a terminal's session, or without one, with its lines in a pipe."""

    def __init__(
        self,
        folder: Path,
        how: str,
        terminal: bool,
        program: Sequence[str] = (sys.executable, "-W", "error", "-m", "appliance"),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.master, slave = pty.openpty() if terminal else (-1, -1)
        launcher = (sys.executable, "-c", LAUNCHER, str(slave) if terminal else "none", how, *program)
        self.daemon = Daemon(folder, program=launcher, environ=environ, pass_fds=(slave,) if terminal else ())
        if terminal:
            os.close(slave)

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
        self.master = -1


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, bool], OnTerminal]]:
    started: list[OnTerminal] = []

    def make(how: str, terminal: bool) -> OnTerminal:
        started.append(OnTerminal(tmp_path, how, terminal))
        started[-1].daemon.wait_for("serving")
        return started[-1]

    yield make
    for one in started:
        with one.daemon:
            one.close()


@pytest.mark.parametrize(("how", "terminal"), [("nohup", False), ("nohup", True), ("plain", True)], ids=str)
def test_kill_hup_reloads(start: Callable[[str, bool], OnTerminal], how: str, terminal: bool) -> None:
    daemon = start(how, terminal).daemon
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded")
    assert "Ann Lee" in daemon.ask()
    assert daemon.stop() == 0


def test_nohup_outlives_its_terminal(start: Callable[[str, bool], OnTerminal]) -> None:
    running = start("nohup", True)
    daemon = running.daemon
    running.close()
    daemon.wait_for("terminal_gone")
    assert "Ann Lee" in daemon.ask()
    assert daemon.stop() == 0
    assert {line["event"] for line in daemon.rest()} <= {"request", "stopping", "stopped"}


def test_without_nohup_it_ends_with_its_terminal(start: Callable[[str, bool], OnTerminal]) -> None:
    running = start("plain", True)
    running.close()
    running.daemon.wait_for("stopped")
    assert running.daemon.end() == 0
