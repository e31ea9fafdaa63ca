"""What a built executable must do before anybody gets it: start, answer, refuse, reload, end, leave nothing behind.

Needs nothing but the executable and Python. Usage: self_test.py EXECUTABLE
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PATIENCE = 30.0
SECRET = b"self-test-secret"
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
workers = 2
[customers]
source = "customers.csv"
addresses = ["email"]
encoding = "shift_jis"
[admin]
listen = ""
[[app]]
secrets = ["file:secret"]
"""


class Service:
    """The executable as it serves from a folder of its own."""

    def __init__(self, program: Path, folder: Path) -> None:
        """Write its files and start it; a throw-away certificate is made by itself."""
        (folder / "sidebard.toml").write_text(CONFIG)
        (folder / "secret").write_bytes(SECRET)
        (folder / "customers.csv").write_text("name,email\nアダ,ada@example.com\n", "shift_jis")
        self.unpacked = folder / "unpacked"
        self.unpacked.mkdir()
        self.process = subprocess.Popen(
            [program, "serve", "--config", folder / "sidebard.toml"],
            env={"PATH": os.environ["PATH"], "STATE_DIRECTORY": str(folder / "state"), "TMPDIR": str(self.unpacked)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._unread = b""
        self._lines: list[str] = []

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read its log until this event; return the event's line."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                self._lines.append(line.decode())
                read: dict[str, Any] = json.loads(line)
                if read["event"] == event:
                    return read
            ready = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                raise AssertionError(f"no {event!r} in its log:\n" + "\n".join(self._lines))
            self._unread += chunk

    def ask(self, port: int, secret: bytes) -> tuple[int, str]:
        """Post one signed message; give the status and the body."""
        body = b'{"customer":{"email":"ada@example.com"}}'
        signature = base64.b64encode(hmac.digest(secret, body, hashlib.sha1)).decode()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
        connection.request("POST", "/helpscout", body, {"X-HelpScout-Signature": signature})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


def run(program: Path) -> str:
    """Return what the executable says of its version, once it has passed. Raises AssertionError."""
    program = program.resolve()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and the service would ignore it too
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    with tempfile.TemporaryDirectory() as place:
        service = Service(program, Path(place))
        try:
            _serve(service)
        finally:
            service.process.kill()
            service.process.wait()
    with tempfile.TemporaryDirectory() as place:
        for scheme in ("postgresql", "mysql"):
            _try_driver(program, Path(place), scheme)
    return version.stdout.strip()


def _try_driver(program: Path, folder: Path, scheme: str) -> None:
    """Have it connect to a database that is not there: only a driver that is inside can find that out."""
    source = f'source = "{scheme}://reader@127.0.0.1:1/shop"\ntable = "customers"\naddresses = ["email"]\n'
    (folder / "sidebard.toml").write_text(f'[customers]\n{source}[[app]]\nsecrets = ["file:secret"]\n')
    (folder / "secret").write_bytes(SECRET)
    ran = subprocess.run(
        [program, "import", "--config", folder / "sidebard.toml"],
        env={"PATH": os.environ["PATH"], "STATE_DIRECTORY": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "127.0.0.1:1/shop: cannot be reached (" in ran.stderr, f"no driver of {scheme}: {ran.stdout}{ran.stderr}"


def _serve(service: Service) -> None:
    (address,) = service.wait_for("serving")["addresses"]
    port = int(address.rpartition(":")[2])
    status, text = service.ask(port, SECRET)
    assert (status, "アダ" in json.loads(text)["html"]) == (200, True), f"a signed message got {status}: {text}"
    status, text = service.ask(port, b"wrong")
    assert status == 403, f"a wrongly signed message got {status}: {text}"
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("reloaded")
    status, _ = service.ask(port, SECRET)
    assert status == 200, f"after SIGHUP a signed message got {status}"
    service.process.send_signal(signal.SIGTERM)
    service.wait_for("stopped")
    code = service.process.wait(PATIENCE)
    assert code == 0, f"SIGTERM ended it with {code}"
    left = [path.name for path in service.unpacked.iterdir()]
    assert not left, f"it left {left} behind"


if __name__ == "__main__":
    print(run(Path(sys.argv[1])))
