"""The servers of a comparison: how each is started, that it answers rightly, and what it uses."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.bench.peers import fixtures
from tests.bench.peers.fixtures import CERTIFICATE, DATABASE, FOLDER, HERE, KEY, SECRET
from tests.daemon import ROOT, alive, children, until
from tests.ports import free_port

CARD: Final = """<h4>{{ customer.name }}</h4><p class="muted">Customer since {{ customer.since }}</p><ul>\
<li>Plan: <strong>{{ customer.plan }}</strong></li><li>Lifetime value: ${{ customer.ltv }}</li>\
<li>Company: {{ customer.company }}</li><li>Last order: {{ customer.last_order }}</li>\
<li>Email: <a href="mailto:{{ customer.email }}">{{ customer.email }}</a></li></ul>"""
_CONFIG: Final = """
[server]
listen = ["127.0.0.1:{port}"]
workers = 1
state = "{state}"
[tls]
enabled = {tls}
certificate = "{certificate}"
key = "{key}"
[customers]
source = "{database}"
table = "customers"
addresses = ["email"]
refresh = "1h"
[admin]
listen = ""
[[app]]
path = "/"
secrets = ["file:secret"]
card = "card.html"
"""
_NGINX: Final = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} {ssl} backlog=1024;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        location / {{ return 200 '{{"html":"{body}"}}'; }}
    }}
}}
"""


def _sidebard(port: int, tls: bool) -> list[str]:
    """One worker with everything on: limits, counters, a log line a request, which goes to a file."""
    folder = FOLDER / f"sidebard-{port}"
    folder.mkdir(exist_ok=True)
    config = _CONFIG.format(
        port=port,
        tls=str(tls).lower(),
        certificate=CERTIFICATE,
        key=KEY,
        database=DATABASE,
        state=FOLDER / "sidebard-state" / ("tls" if tls else "plain"),  # so that a later run need not import again
    )
    for name, text in (("secret", SECRET), ("card.html", CARD), ("sidebard.toml", config)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    command = [os.environ["SIDEBARD"]] if "SIDEBARD" in os.environ else [sys.executable, "-m", "appliance"]
    return [*command, "serve", "--config", str(folder / "sidebard.toml")]


def _nginx(port: int, tls: bool) -> list[str]:
    """The limit: a body of the same size, whatever is asked; what was sent is thrown away."""
    file = FOLDER / f"nginx-{port}.conf"
    ssl_word, body = "ssl" if tls else "", "x" * 380
    file.write_text(
        _NGINX.format(folder=FOLDER, port=port, ssl=ssl_word, certificate=CERTIFICATE, key=KEY, body=body)
        + ("user root;\n" if os.geteuid() == 0 else "")
    )
    return ["/usr/sbin/nginx", "-c", str(file), "-e", str(FOLDER / "nginx.log")]


SERVERS: Final[Mapping[str, Callable[[int, bool], list[str]]]] = MappingProxyType(
    {
        "go": lambda _port, _tls: [str(FOLDER / "go-peer")],
        "nginx": _nginx,
        "ceiling": lambda _port, _tls: [sys.executable, str(HERE / "ceiling.py")],
        "sidebard": _sidebard,
    }
)


class Server:
    """One that runs."""

    def __init__(self, name: str, port: int, tls: bool, process: subprocess.Popen[bytes]) -> None:
        self.name, self.port, self.tls = name, port, tls
        self.asked = 0  # requests, so far
        self._process = process

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://localhost:{self.port}/"

    def used(self) -> float:
        """Return the seconds that its processes had a core."""
        return used(self._family())

    def memory(self) -> float:
        """Return the MB that belong to its processes alone, or to several of them in parts."""
        total = 0
        for pid in self._family():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total / 1024

    def ask(self, signature: str = "") -> tuple[int, bytes]:
        """Send the first request; a signature in the place of its own is wrong."""
        own, body = fixtures.first_request()
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=5, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("POST", "/", body, {"X-HelpScout-Signature": signature or own})
        answer = connection.getresponse()
        said = answer.status, answer.read()
        connection.close()
        return said

    def is_right(self) -> bool:
        """Return whether it gives the card, and a wrong signature none."""
        try:
            status, body = self.ask()
            if self.name == "nginx":
                return status == 200
            return status == 200 and b"Customer since" in body and self.ask("A" * 27 + "=")[0] == 403
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> None:
        family = self._family()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            for pid in filter(alive, family):
                os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def _family(self) -> list[int]:
        found, left = [], [self._process.pid]
        while left:
            found.append(left.pop())
            left += children(found[-1])
        return found


def used(pids: list[int]) -> float:
    """Return the seconds that these processes, with all their threads, had a core (schedstat)."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def busy(core: int) -> float:
    """Return the seconds that anybody had this core, or the hypervisor had taken it (proc_stat(5))."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


@contextmanager
def servers(names: list[str], core: int, tls: bool) -> Iterator[dict[str, Server]]:
    """Run these servers, all on one core, once each answers rightly."""
    running: dict[str, Server] = {}
    try:
        with (FOLDER / "servers.log").open("ab") as log:
            for name in names:
                port = free_port()
                environ = {
                    **os.environ,
                    "PORT": str(port),
                    "TLS": str(int(tls)),
                    "SECRET": SECRET,
                    "DB": str(DATABASE),
                    "CERTIFICATE": str(CERTIFICATE),
                    "KEY": str(KEY),
                }
                command = ["taskset", "--cpu-list", str(core), *SERVERS[name](port, tls)]
                process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
                running[name] = Server(name, port, tls, process)
        for name, server in running.items():
            until(server.is_right, f"the right answer of {name}; see {FOLDER}/servers.log", patience=300)
        yield running
    finally:
        for server in running.values():
            server.stop()
