"""The service on a terminal: lines for people, and the terminal's end is its end."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.daemon import PATIENCE, Daemon

LAUNCHER = """
import fcntl, os, sys, termios
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A terminal, and the service on it."""

    def __init__(self, folder: Path, program: Sequence[str] = (sys.executable, "-m", "appliance")) -> None:
        self.master, slave = pty.openpty()
        self.said = b""
        self.daemon = Daemon(folder, program=(sys.executable, "-c", LAUNCHER, *program), stdout=slave)
        os.close(slave)

    def wait_for(self, words: bytes) -> None:
        while words not in self.said:
            assert select.select([self.master], [], [], PATIENCE)[0], self.said
            self.said += os.read(self.master, 65536)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    with made.daemon:
        yield made
    if made.master >= 0:
        os.close(made.master)


def test_lines_are_for_people(terminal: Terminal) -> None:
    terminal.wait_for(b"serving")
    assert b'{"' not in terminal.said
    terminal.daemon.ask()
    terminal.wait_for(b"200, found")
    os.write(terminal.master, b"\x03")
    terminal.wait_for(b"stopped")
    assert terminal.daemon.end() == 0


def test_ends_with_its_terminal(terminal: Terminal) -> None:
    terminal.wait_for(b"serving")
    os.close(terminal.master)
    terminal.master = -1
    assert terminal.daemon.end() == 0
