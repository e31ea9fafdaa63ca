"""Runs `sidebard serve` as an operator would, in a process of its own, and talks to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue

from tests.factory import SECRET, sign, write_csv

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
state = "state"
[customers]
source = "customers.csv"
addresses = ["email"]
refresh = "50ms"
[admin]
listen = ""
[[app]]
secrets = ["file:secret"]
"""


def free_port() -> int:
    """Give a port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_home(folder: Path, config: str = CONFIG) -> int:
    """Write a config, a secret and customers into `folder`; give the port."""
    port = free_port()
    (folder / "sidebard.toml").write_text(config.format(port=port))
    (folder / "secret").write_text(SECRET + "\n")
    write_csv(folder / "customers.csv")
    return port


class Daemon:
    """A running service and the lines that it logs."""

    def __init__(self, folder: Path, port: int, *arguments: str) -> None:
        self.folder, self.port = folder, port
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "appliance", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[1],
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
        self.seen: list[dict] = []
        self._lines: Queue[bytes | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, event: str, matches: Callable[[dict], bool] = lambda line: True) -> dict:
        """Wait for the next line of this event, at most 20 s."""
        while True:
            try:
                line = self._lines.get(timeout=20)
            except Empty:
                raise AssertionError(f"no {event} among {self.seen}") from None
            if line is None:
                raise AssertionError(f"ended without {event}: {self.seen}")
            self.seen.append(json.loads(line))
            if self.seen[-1]["event"] == event and matches(self.seen[-1]):
                return self.seen[-1]

    def client(self) -> ssl.SSLContext:
        """Give a context that trusts the service's self-signed certificate and no other."""
        return ssl.create_default_context(cafile=str(self.folder / "state/self-signed/localhost.crt"))

    def post(self, body: bytes, signature: bytes | None = None) -> tuple[int, bytes]:
        """Post a signed message on a connection of its own."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.client(), timeout=10)
        with contextlib.closing(connection):
            headers = {"X-HelpScout-Signature": (signature or sign(body)).decode()}
            connection.request("POST", "/helpscout", body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and give the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(20)
        while (line := self._lines.get()) is not None:
            self.seen.append(json.loads(line))
        return code


@contextlib.contextmanager
def running(folder: Path, port: int, *arguments: str) -> Iterator[Daemon]:
    """Run the service until the block ends; `arguments` in the place of --config."""
    daemon = Daemon(folder, port, *(arguments or ("--config", str(folder / "sidebard.toml"))))
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait(20)
        daemon._reader.join(20)
        assert daemon.process.stdout is not None
        daemon.process.stdout.close()
