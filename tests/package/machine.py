"""A Debian machine with a systemd of its own: debootstrap makes it, systemd-nspawn runs it, nsenter goes in.

`--register=no` because there is no machined to ask where these tests run, and `--private-network`, so that port 443
inside is nobody's outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pexpect

from tests.daemon import ROOT, children, until
from tests.package.base import NoMachine, base, copy, descendants, enter, first_process, pid_inside

PACKAGES = ("systemd", "dbus", "openssl", "curl", "ca-certificates")
MORE = {"bookworm": ("logrotate",)}
"""Debian 13's logrotate wants cron, which debootstrap cannot set up beside systemd."""
BOOT = 60.0
CHILDREN = 2  # at least: a worker and the steward


class Family(NamedTuple):
    """The pids of the service's processes, as this side knows them."""

    main: int
    """What systemd started: the supervisor, or from the archive, where it is one file, the bootloader above it."""

    supervisor: int
    children: tuple[int, ...]


class Machine:
    """A running machine. What is done in it is gone when it ends."""

    def __init__(self, release: str, place: Path) -> None:
        """Copy the base to `place` and boot it. Raises NoMachine."""
        self.release = release
        self.root = place / "root"
        copy(base(release, (*PACKAGES, *MORE.get(release, ()))), self.root)
        self._console = place / "console"
        self._boot("--private-network")

    def _boot(self, network: str) -> None:
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", network),
                    f"--directory={self.root}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            self.leader = until(self._find_leader, "its first process", BOOT)
            until(self._is_up, f"the end of the boot of {self.release}", BOOT)
        except AssertionError as error:
            self.stop()
            raise NoMachine(f"{error}; its console:\n{self._console.read_text()[-3000:]}") from None

    def _find_leader(self) -> int | None:
        if self._process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {self._process.returncode}")
        return first_process(self._process.pid)

    def _is_up(self) -> bool:
        state = self.run("systemctl is-system-running", check=False).strip()
        return state in ("running", "degraded")

    def run(self, script: str, *, check: bool = True, stdin: str = "", folder: str = "/root") -> str:
        """Run a shell script in it as root; give what it says on both its streams."""
        ended = subprocess.run(
            [*enter(self.leader, folder), "/bin/sh", "-e", "-c", script],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"},
            text=True,
            check=False,
            timeout=180,
        )
        assert not check or ended.returncode == 0, f"{script}\nended with {ended.returncode}:\n{ended.stdout}"
        return ended.stdout

    @property
    def network(self) -> list[str]:
        """Return how a command of this side begins that is to have its network."""
        return ["nsenter", f"--target={self.leader}", "--net"]

    def answer(self, command: str, answers: Sequence[tuple[str, str]], *, folder: str = "/root") -> str:
        """Run a command in it on a terminal, and answer each question; give what it says after the last."""
        words = [*enter(self.leader, folder), "/bin/sh", "-c", command]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb"}
        terminal = pexpect.spawn(words[0], words[1:], env=environ, timeout=60, encoding="utf-8", dimensions=(50, 200))
        for question, reply in answers:
            terminal.expect(question)
            terminal.sendline(reply)
        terminal.expect(pexpect.EOF)
        terminal.close()
        said: str = terminal.before
        assert terminal.exitstatus == 0, said
        return said

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --value --property={name} {unit}").strip()

    def journal(self, unit: str = "sidebard.service") -> list[str]:
        """Return the lines that a unit has written on its own."""
        said = self.run(f"journalctl --output=cat _SYSTEMD_UNIT={unit} + _SYSTEMD_UNIT=")
        return said.splitlines()

    def family(self) -> Family:
        """Return the processes of the service, once all of them are there."""
        return until(self._find_family, "the service's processes")

    def _find_family(self) -> Family | None:
        main = int(self.property("sidebard.service", "MainPID"))
        if self.property("sidebard.service", "ActiveState") != "active":
            return None
        for first in descendants(self.leader):
            if pid_inside(first) == main:
                below = children(first)
                supervisor = below[0] if len(below) == 1 else first
                below = children(supervisor)
                return Family(first, supervisor, tuple(below)) if len(below) >= CHILDREN else None
        return None

    @contextlib.contextmanager
    def asked(self, sides: int = 2) -> Iterator[dict[str, object]]:
        """Ask for cards on port 443 inside, all the time; the dictionary has the outcome afterwards."""
        command = [*self.network, sys.executable, "-m", "tests.package.asking", str(sides)]
        asking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        outcome: dict[str, object] = {}
        assert asking.stdout is not None
        try:
            assert asking.stdout.readline() == "answered\n"
            yield outcome
        finally:
            asking.send_signal(signal.SIGTERM)
            said, _ = asking.communicate(timeout=60)
        outcome.update(json.loads(said))

    def reboot(self) -> None:
        """Power it off and boot it from the same folder, in the same network: what others run there runs on.

        Without machined, `systemctl reboot` ends systemd-nspawn and nothing starts it again. Raise NoMachine.
        """
        with open(f"/proc/{self.leader}/ns/net", "rb") as network:  # which lasts as long as it is open here
            self.stop()
            self._boot(f"--network-namespace-path=/proc/{os.getpid()}/fd/{network.fileno()}")

    def stop(self) -> None:
        """Power it off."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # nspawn asks the machine to power off
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self._process.kill()
            self._process.wait()
