"""Two nodes on two addresses behind a balancer, with customers in one PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.daemon import ROOT, alive, children, until
from tests.ports import free_port
from tests.system.databases.balancers import BALANCERS, OWN, SERVERS, balancer, block_of, program, wait_for_status
from tests.system.databases.postgres_server import Postgres
from tests.system.databases.test_served import Shop, fill
from tests.system.load import REQUEST, client_context, connect, read_card, secure

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("unmeasured")]
CONNECTIONS = 8  # of the load test: so many requests can be running


class Node(Shop):
    """One of the two: its own address, folder and state, and what the docs say they have in common."""

    def __init__(self, folder: Path, address: str, port: int, admin_port: int, limit: int) -> None:
        """`limit` is that of connections from one client."""
        (folder / "hash-key").write_text("one key for both nodes, thirty-two\n")
        (folder / "hash-key").chmod(0o600)
        self.limit = limit
        super().__init__(folder, customers=False, listen=f"{address}:{port}", admin=f"127.0.0.1:{admin_port}")
        self.address, self.port, self.admin_port = address, port, admin_port

    def write_config(self, **parts: object) -> None:
        super().write_config(**parts)
        text = self.config.read_text()
        keys = f'proxy_protocol_from = ["{OWN}/32"]\nmax_per_source = {self.limit}'
        text = text.replace("workers = 1", f"workers = 1\n{keys}")
        self.config.write_text(text.replace("[admin]", '[log]\nhash_key = "file:hash-key"\n[admin]'))

    @property
    def place(self) -> str:
        return f"{self.address}:{self.port}"

    def card(self, email: str = "ann@example.com") -> str:
        """Ask this node itself."""
        connection = self.connect()
        connection.host = self.address
        with contextlib.closing(connection):
            return self.ask(email, connection)

    def kill(self) -> None:
        """End all of its processes at once, as a power failure does."""
        family = [self.pid, *children(self.pid)]
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not any(map(alive, family)), "their end")

    def again(self) -> Node:
        """Start it again, and wait until the balancer sends it requests."""
        self.rest()
        assert self.process.stdout is not None
        self.process.stdout.close()
        started = Node(self.folder, self.address, self.port, self.admin_port, self.limit)
        started.lines += self.lines
        started.wait_for("serving")
        started.wait_for_requests()
        return started

    def wait_for_requests(self) -> None:
        """Wait until the balancer has sent it some more."""
        before = self._answered()
        until(lambda: self._answered() >= before + 20, "requests")

    def _answered(self) -> float:
        found = re.search(r'sidebard_requests_total{[^}]*outcome="found"} ([0-9.]+)', self.admin("/metrics")[1])
        return float(found[1]) if found else 0.0


@contextlib.contextmanager
def two_nodes(folder: Path, limit: int = 100) -> Iterator[list[Node]]:
    """Run two; whoever starts one again puts it into its place of the list."""
    nodes: list[Node] = []
    try:
        for address in ("127.0.0.11", "127.0.0.12"):
            (folder / address).mkdir()
            nodes.append(Node(folder / address, address, free_port(), free_port(), limit))
        for node in nodes:
            node.wait_for("serving")
            assert "Ann Lee" in until(node.card, "its first card")
        yield nodes
    finally:
        for node in nodes:
            node.__exit__(None, None, None)


@pytest.fixture
def database(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    fill(server)
    monkeypatch.setattr(Shop, "database", server, raising=False)
    return server


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "appliance", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )


@contextlib.contextmanager
def replays(folder: Path, nodes: Sequence[Node], port: int, *kinds: str) -> Iterator[list[SimpleNamespace]]:
    """Send requests meanwhile, on connections of these kinds; the list has the results at the end."""
    requests = folder / "requests"
    made = command(folder, "requests", "--config", str(nodes[0].config), "--count", "50", "--unknown", "0%")
    requests.write_text(made.communicate()[0])
    url = f"https://127.0.0.1:{port}/helpscout"
    given = ("--rate", "100", "--connections", str(CONNECTIONS), "--duration", "60s", "--insecure", "--json")
    results: list[SimpleNamespace] = []
    running = [command(folder, "replay", str(requests), "--url", url, *given, *filter(None, [kind])) for kind in kinds]
    try:
        for node in nodes:
            node.wait_for_requests()
        yield results
        for node in nodes:
            node.wait_for_requests()
    finally:
        for one in running:
            one.send_signal(signal.SIGINT)
        said = [one.communicate()[0] for one in running]
    results += [SimpleNamespace(**json.loads(text)) for text in said]


def faults(results: Sequence[SimpleNamespace]) -> list[str]:
    """Return what went wrong, but that they were interrupted."""
    assert all(result.answered > 50 and result.statuses == {"200": result.answered} for result in results)
    return [fault for result in results for fault in result.faults if fault != "interrupted"]


def test_behind_haproxy_no_request_is_lost(database: Postgres, tmp_path: Path) -> None:
    with two_nodes(tmp_path) as nodes, balancer("haproxy", tmp_path, [node.place for node in nodes]) as port:
        with replays(tmp_path, nodes, port, "", "--close") as results:
            for node in nodes:
                node.send(signal.SIGHUP)
                node.wait_for("reloaded")
            for place, server in enumerate(SERVERS):
                assert nodes[place].stop() == 0
                wait_for_status(tmp_path, server, "DOWN")
                nodes[place] = nodes[place].again()
                wait_for_status(tmp_path, server, "UP")
        assert faults(results) == []

        with replays(tmp_path, nodes, port, "", "--close") as results:
            nodes[0].kill()
            nodes[0] = nodes[0].again()
        assert all(fault.startswith("failed: ") for fault in faults(results))
        assert sum(result.failed for result in results) <= 2 * CONNECTIONS

        database.sql("UPDATE customers SET name = 'Ann Moe'")
        until(lambda: all("Ann Moe" in node.card() for node in nodes), "the change", patience=1.1 * 0.2 + 2)
        for node in nodes:
            assert node.stop() == 0
            node.rest()
    asked = [line for node in nodes for line in node.lines if line.get("outcome") == "found"]
    assert len({line["customer"] for line in asked}) == 1
    told = {line["event"] for node in nodes for line in node.lines if line["level"] not in ("debug", "info")}
    assert told <= {"running_as_root", "self_signed_certificate", "check_warning"}


@pytest.mark.parametrize("name", BALANCERS)
def test_limits_and_logs_see_the_client(name: str, database: Postgres, tmp_path: Path) -> None:
    context, limit = client_context(), 20
    with (
        two_nodes(tmp_path, limit) as nodes,
        balancer(name, tmp_path, [node.place for node in nodes]) as port,
        contextlib.ExitStack() as stack,
    ):
        rejected = 0
        for _ in range(2 * limit + 10):
            try:
                stack.enter_context(secure(connect(port, "127.0.0.66"), context))
            except OSError:
                rejected += 1
        assert rejected == 10
        for number in range(4):
            with secure(connect(port, f"127.0.0.{70 + number}"), context) as client:
                client.sendall(REQUEST)
                read_card(client)
        stack.close()
        for node in nodes:
            assert node.stop() == 0
            node.rest()
    peers = [line["peer"] for node in nodes for line in node.lines if line["event"] == "request"]
    assert sorted({*peers} - {"127.0.0.1"}) == [f"127.0.0.{70 + number}" for number in range(4)]


def test_behind_nginx_a_killed_node_is_left_out(database: Postgres, tmp_path: Path) -> None:
    with two_nodes(tmp_path) as nodes, balancer("nginx", tmp_path, [node.place for node in nodes]) as port:
        nodes[0].kill()
        context = client_context()
        for _ in range(10):
            with secure(connect(port), context) as client:
                client.sendall(REQUEST)
                read_card(client)


def test_keepalived_takes_its_config(tmp_path: Path) -> None:
    """All of it but the interface, which is that of another machine."""
    file = tmp_path / "keepalived.conf"
    file.write_text(block_of("keepalived").replace("eth0", "not-here0"))
    file.chmod(0o644)
    ran = subprocess.run(
        [program("keepalived"), "--config-test", "--use-file", str(file)], capture_output=True, text=True, check=False
    )
    assert [line for line in ran.stderr.splitlines() if "interface" not in line] == []
    assert "WARNING - interface not-here0 for vrrp_instance support doesn't exist" in ran.stderr
