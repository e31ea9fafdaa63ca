"""Runs the service as a process of its own, and talks to it: every wait is for something that happens, and ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.coverage_env import COVERAGE
from tests.factory import SECRET, body_for, sign, write_csv
from tests.ports import free_port

PATIENCE = 20.0
ROOT = Path(__file__).parent.parent
T = TypeVar("T")
FLAWS = frozenset({"stderr", "stderr_dropped", "unraisable"})
"""Events that come of a bug, or of what a test does on purpose and then expects."""
Line = dict[str, Any]


def until(look: Callable[[], T | None], what: str = "it", patience: float = PATIENCE) -> T:
    """Return the first true value that `look` gives; a daemon tells by more than events, such as by a process's end."""
    end = time.monotonic() + patience
    while not (value := look()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {patience} seconds")
        select.select([], [], [], 0.01)
    return value


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the running children of a process, in the order in which they were started."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [child for child in map(int, found) if alive(child)]


class Daemon:
    """`python -m appliance serve` with a config in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        config: str = "",
        server: str = "",
        customer_keys: str = "",
        app: str = "",
        environ: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-W", "error", "-m", "appliance"),
        pass_fds: Sequence[int] = (),
        customers: bool = True,
        listen: str = "",
        admin: str = "",
        arguments: Sequence[str] = (),
        stdout: int = subprocess.PIPE,
        expected: Collection[str] = (),
    ) -> None:
        """Write the files and start it; `config` is more of the file, `server` of its [server].

        `app` is more of its [[app]]. `arguments` are in the place of --config. `expected` are those of FLAWS that may
        be logged.
        """
        self._flaws = FLAWS.difference(expected)
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self.listen = listen or f"127.0.0.1:{self.port}"
        self.admin_listen = admin or f"127.0.0.1:{self.admin_port}"
        self.config = folder / "sidebard.toml"
        self.lines: list[Line] = []
        self.requests = 0
        if customers:
            write_csv(folder / "customers.csv")
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        self.write_config(workers=workers, more=config, server=server, customer_keys=customer_keys, app=app)
        self.process = subprocess.Popen(
            [*program, "serve", *(arguments or ("--config", str(self.config)))],
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout == subprocess.PIPE else subprocess.DEVNULL,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "PYTHONPATH": str(ROOT),
                **COVERAGE,
                **(environ or {}),
            },
            cwd=ROOT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self.pid = self.process.pid
        self._unread = b""

    def write_config(
        self, *, workers: int = 1, more: str = "", server: str = "", customer_keys: str = "", app: str = ""
    ) -> None:
        """Write the config file."""
        self.config.write_text(
            f"""
[server]
listen = ["{self.listen}"]
workers = {workers}
state = "state"
{server}
[customers]
source = "customers.csv"
addresses = ["email"]
refresh = "200ms"
{customer_keys}
[admin]
listen = "{self.admin_listen}"
{more}
[[app]]
secrets = ["file:secret"]
{app}
"""
        )

    # What it says

    def read(self, patience: float) -> Line | None:
        """Return the next line that it logs, or None at its end."""
        stdout = self.process.stdout
        assert stdout is not None
        end = time.monotonic() + patience
        while b"\n" not in self._unread:
            if not select.select([stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"silent for {patience} seconds after {self.lines[-5:]}")
            chunk = os.read(stdout.fileno(), 65536)
            if not chunk:
                return None
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        self.lines.append(json.loads(line))
        assert self.lines[-1]["event"] not in self._flaws, self.lines[-1]
        return self.lines[-1]

    def wait_for(self, event: str, patience: float = PATIENCE) -> Line:
        """Return the next line of this event."""
        while (line := self.read(patience)) is not None:
            if line["event"] == event:
                return line
        raise AssertionError(f"ended before {event}: {self.lines}")

    def rest(self) -> list[Line]:
        """Return the lines until its end."""
        before = len(self.lines)
        while self.read(PATIENCE) is not None:
            pass
        return self.lines[before:]

    # What it answers

    def connect(self) -> http.client.HTTPSConnection:
        """Return a connection of its own, which trusts whatever certificate is there."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=context)

    def ask(self, email: str = "ann@example.com", connection: http.client.HTTPSConnection | None = None) -> str:
        """Send a signed request; give the card."""
        asked = connection or self.connect()
        body = body_for(email)
        try:
            asked.request("POST", "/helpscout", body, {"X-HelpScout-Signature": sign(body).decode()})
            answer = asked.getresponse()
            text = answer.read()
        finally:
            if connection is None:
                asked.close()
        assert answer.status == 200, text
        self.requests += 1
        return str(json.loads(text)["html"])

    def post(self, body: bytes, signature: bytes) -> int:
        """Send a message on a connection of its own; give the status."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", "/helpscout", body, {"X-HelpScout-Signature": signature.decode()})
            return connection.getresponse().status

    def admin(self, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, str, Mapping[str, str]]:
        """Ask the admin pages."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, dict(answer.getheaders())

    def health(self) -> dict[str, Any]:
        """Return what /healthz says."""
        health: dict[str, Any] = json.loads(self.admin("/healthz")[1])
        return health

    def healthy(self) -> dict[str, Any]:
        """Wait until /healthz has no reasons."""
        return until(lambda: health if not (health := self.health())["reasons"] else None, "health")

    # What it consists of

    def steward(self) -> int:
        """Return the steward's pid: the one child that listens on the admin port and not on the public one."""
        return next(pid for pid in children(self.pid) if not self._has_public(pid))

    def workers(self) -> list[int]:
        """Return the workers' pids."""
        return [pid for pid in children(self.pid) if self._has_public(pid)]

    def _has_public(self, pid: int) -> bool:
        listening = {
            row.split()[9]
            for row in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if int(row.split()[1].partition(":")[2], 16) == self.port and row.split()[3] == "0A"
        }
        return bool(listening & set(_inodes(pid)))

    # How it ends

    def send(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Return its exit code, once it has ended."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """End it in good order; give its exit code."""
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        return self.end()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = [self.pid, *children(self.pid)]
        for pid in family:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


def _inodes(pid: int) -> Iterator[str]:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            name = os.readlink(descriptor)
            if name.startswith("socket:["):
                yield name[8:-1]
    except OSError:
        return
