"""Certificates from pebble, and from an authority that renews at once, by a running service."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.acme.attempt import Job
from appliance.acme.storage import Storage
from appliance.service.acme_child import look
from tests.acme.authority import Answer, Authority
from tests.acme.pebble import MISSING, Pebble
from tests.daemon import PATIENCE, ROOT, Daemon, Line, until
from tests.ports import free_port
from tests.service.test_log import metric
from tests.system.load import Load

pytestmark = pytest.mark.skipif(bool(MISSING), reason="apt-get install pebble")

PROGRAM = (sys.executable, "-m", "appliance")
ISSUES_EVERY = 0.3  # seconds; without a pause between them all are put into use together
VALIDATION = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # in what is shown to the authority alone


def acme(authority: Pebble | Authority, more: str = "", names: tuple[str, ...] = ("sidebar.test",)) -> str:
    domains = json.dumps(names)
    return f'[acme]\ndomains = {domains}\ndirectory = "{authority.url}"\nca = "{authority.ca}"\n{more}\n'


def served(port: int, name: str = "sidebar.test") -> x509.Certificate:
    """Return the certificate that a client gets."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 5) as sock,
        context.wrap_socket(sock, server_hostname=name) as tls,
    ):
        found = tls.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


def event(daemon: Daemon, name: str) -> Line:
    """Return the line of an event that may have been logged before others that were waited for."""
    return next((line for line in daemon.lines if line["event"] == name), None) or daemon.wait_for(name)


def health(daemon: Daemon) -> tuple[int, dict[str, object]]:
    with socket.create_connection(("127.0.0.1", daemon.admin_port), 5):
        pass
    connection = http.client.HTTPConnection("127.0.0.1", daemon.admin_port, timeout=5)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    found: dict[str, object] = json.loads(answer.read())
    connection.close()
    return answer.status, found


def test_first_certificate_by_tls_alpn_01(tmp_path: Path) -> None:
    """On the port that is open anyway."""
    port = free_port()
    with (
        Pebble(tmp_path / "pebble", tls_port=port, http_port=free_port()) as pebble,
        Daemon(tmp_path, config=acme(pebble), workers=2, listen=f"127.0.0.1:{port}") as daemon,
    ):
        daemon.wait_for("serving")
        assert event(daemon, "certificate_renewed")["first"] is True
        until(lambda: served(port).issuer != served(port).subject, "the new certificate")
        assert pebble.issued == 1
        assert list((tmp_path / "state" / "acme" / "challenges").iterdir()) == []
        assert daemon.stop() == 0


def test_first_certificate_by_http_01(tmp_path: Path) -> None:
    """At once self-signed and unhealthy, then with the authority's certificate, without a restart."""
    http_port = free_port()
    with Pebble(tmp_path / "pebble", tls_port=free_port(), http_port=http_port) as pebble:
        more = f'challenges = ["http-01"]\nhttp = "127.0.0.1:{http_port}"'
        with Daemon(tmp_path, config=acme(pebble, more)) as daemon:
            daemon.wait_for("serving")
            line = event(daemon, "certificate_renewed")
            assert (line["name"], line["first"], line["directory"]) == ("sidebar.test", True, pebble.url)
            until(lambda: served(daemon.port).issuer != served(daemon.port).subject, "the new certificate")
            assert pebble.issued == 1
            status, found = health(daemon)
            assert status == 200, found
            request = urllib.request.Request(f"http://127.0.0.1:{http_port}/a?b=1", headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.build_opener(NoRedirect).open(request, timeout=5)
            assert (error.value.code, error.value.headers["Location"]) == (308, "https://sidebar.test/a?b=1")
            error.value.close()
            assert daemon.stop() == 0


def test_two_nodes_with_one_account_key(tmp_path: Path) -> None:
    """The authority asks one node for what the other has begun."""
    http_port = free_port()
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with Pebble(tmp_path / "pebble", tls_port=free_port(), http_port=http_port) as pebble, ExitStack() as nodes:
        for name, port in (("asked", http_port), ("never asked", free_port())):
            (tmp_path / name).mkdir()
            (tmp_path / name / "account.pem").write_bytes(key)
            more = f'challenges = ["http-01"]\nhttp = "127.0.0.1:{port}"\naccount_key = "file:account.pem"'
            daemon = nodes.enter_context(Daemon(tmp_path / name, config=acme(pebble, more)))
            daemon.wait_for("serving")
            assert event(daemon, "certificate_renewed")["first"] is True
        assert pebble.issued == 2


@pytest.mark.parametrize(
    ("key", "says"),
    [("kid-1 zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", "Failed to connect"),
     ("kid-1 AAAAZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", ""),
     ("", "put them where acme.eab says")],
    ids=["the right key", "another", "none"],
)  # fmt: skip
def test_account_that_was_made_elsewhere(tmp_path: Path, key: str, says: str) -> None:
    """With the key there is an account and an order; that nobody answers the authority is another matter."""
    external = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
    with Pebble(tmp_path / "pebble", tls_port=free_port(), http_port=free_port(), external=external) as pebble:
        job = Job(
            folder=tmp_path / "acme",
            directories=((pebble.url, True),),
            challenges=("tls-alpn-01",),
            external_key=key.encode(),
            ca=pebble.ca,
        )
        outcome = look(job, "sidebar.test")
    assert not isinstance(outcome, str)
    assert outcome.problem is not None
    assert says in outcome.problem.sentence
    account = Storage(job.folder).account(pebble.url)
    assert account is not None
    assert bool(account.kid) == says.startswith("Failed")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def test_without_the_authority(tmp_path: Path) -> None:
    """READY with a certificate of its own; health says that there is none yet, and why."""
    config = '[acme]\ndomains = ["sidebar.test"]\ndirectory = "https://localhost:9/dir"\n'
    with Daemon(tmp_path, config=config) as daemon:
        daemon.wait_for("serving")
        line = event(daemon, "certificate_renewal_failed")
        assert (line["name"], line["kind"]) == ("sidebar.test", "network")
        assert served(daemon.port).subject == served(daemon.port).issuer
        status, found = health(daemon)
        assert status == 503
        reasons = found["reasons"]
        assert isinstance(reasons, list)
        assert reasons[0].startswith(
            "there is no certificate for sidebar.test yet: https://localhost:9: nothing listens"
        )
        assert daemon.stop() == 0


class Visitors:
    """Clients that look at certificates until the block ends; some offer the authority's protocol beside their own."""

    def __init__(self, port: int, names: tuple[str, ...]) -> None:
        self._port, self._names = port, names
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(each,), name="visitor") for each in (False, True)]
        self.looks = 0
        self.shown: list[str] = []
        """Names for which a client saw what is the authority's."""
        self.failures: list[str] = []

    def _run(self, offers: bool) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1", "http/1.1"] if offers else ["http/1.1"])
        while not self._over.wait(0.01):
            name = random.choice(self._names)
            try:
                with (
                    socket.create_connection(("127.0.0.1", self._port), 10) as sock,
                    context.wrap_socket(sock, server_hostname=name) as tls,
                ):
                    found = tls.getpeercert(binary_form=True)
            except OSError as error:
                self.failures.append(repr(error))
                continue
            assert found is not None
            self.looks += 1
            if any(each.oid == VALIDATION for each in x509.load_der_x509_certificate(found).extensions):
                self.shown.append(name)

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_orders_while_workers_and_stewards_are_replaced(tmp_path: Path, measured: Callable[..., None]) -> None:
    """All are issued at the first attempt, nothing fails, and nobody but the authority sees a challenge."""
    port, names = free_port(), tuple(f"n{number}.test" for number in range(12))
    issued: list[str] = []
    reloads = 0
    with (
        Pebble(tmp_path / "pebble", tls_port=port, http_port=free_port()) as pebble,
        Daemon(tmp_path, config=acme(pebble, names=names), workers=2, listen=f"127.0.0.1:{port}") as daemon,
    ):
        daemon.wait_for("serving")
        with Visitors(port, names) as visitors, Load(port, sides=1, pace=0.02) as load:
            while len(issued) < len(names):
                line = daemon.read(PATIENCE)
                assert line is not None
                assert line["event"] != "certificate_renewal_failed", line
                if line["event"] == "certificate_renewed":
                    issued.append(line["name"])
                    daemon.send(signal.SIGHUP)  # in the middle of the next order
                reloads += line["event"] == "reloaded"
            until(lambda: all(served(port, name).issuer != served(port, name).subject for name in names), "them all")
        assert pebble.issued == len(names)
        assert list((tmp_path / "state" / "acme" / "challenges").iterdir()) == []
        assert daemon.stop() == 0
    measured(orders=len(issued), reloads=reloads, looks=visitors.looks, requests=len(load.seconds))
    assert sorted(issued) == sorted(names)
    assert (visitors.shown, visitors.failures, load.failures) == ([], [], [])
    assert visitors.looks > 100


def test_renewals_under_replay(tmp_path: Path, measured: Callable[..., None]) -> None:
    """An authority that asks for the renewal of 20 certificates at once, and takes its time: no request fails."""
    names = tuple(f"n{number}.test" for number in range(20))
    start = datetime.now(UTC) - timedelta(days=2)
    window = {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()}
    is_loaded = threading.Event()

    def suggest(_name: str) -> Answer:
        return 200, {}, {"suggestedWindow": window}

    def refuse(_method: str, path: str) -> Answer | None:
        if path == "/newOrder":
            time.sleep(ISSUES_EVERY)
        return None if is_loaded.wait(15) else (500, {}, b"")

    with Authority(tmp_path) as authority:
        (tmp_path / "state").mkdir()
        job = Job(
            folder=tmp_path / "state" / "acme",
            directories=((authority.url, True),),
            challenges=("tls-alpn-01",),
            ca=authority.ca,
        )
        for name in names:
            look(job, name)
        authority.window, authority.refuse = suggest, refuse
        with Daemon(tmp_path, config=acme(authority, names=names), workers=2) as daemon:
            daemon.wait_for("serving")
            result = _replay_until_renewed(daemon, authority, names, is_loaded)
            assert daemon.stop() == 0
    swaps = sum(line["event"] == "certificate_changed" for line in daemon.lines)
    measured(renewals=len(names), swaps=swaps, answered=result["answered"], failed=result["failed"])
    replaced = [order["replaces"] for order in authority.payloads["newOrder"] if "replaces" in order]
    assert len(set(replaced)) == len(names)
    assert (result["wrong"], result["failures"], list(result["statuses"])) == ({}, {}, ["200"])


def _replay_until_renewed(
    daemon: Daemon, authority: Authority, names: Sequence[str], is_loaded: threading.Event
) -> Line:
    """Replay requests while all certificates are renewed; return what it says of them."""
    corpus = daemon.folder / "corpus.jsonl"
    with corpus.open("wb") as file:
        subprocess.run([*PROGRAM, "requests", "--config", daemon.config], cwd=ROOT, stdout=file, check=True)
    url = f"https://127.0.0.1:{daemon.port}/helpscout"
    load = ("--url", url, "--insecure", "--close", "--rate", "50", "--duration", "100s", "--json")
    with subprocess.Popen([*PROGRAM, "replay", corpus, *load], cwd=ROOT, stdout=subprocess.PIPE) as replay:
        until(lambda: metric(daemon, "requests_total") > 10, "the load")
        is_loaded.set()
        for _ in names:
            assert daemon.wait_for("certificate_renewed")["first"] is False
        serials = {one.serial_number for one in authority.issued[-len(names) :]}
        until(lambda: {served(daemon.port, name).serial_number for name in names} == serials, "the last ones")
        assert replay.poll() is None
        replay.send_signal(signal.SIGINT)  # it reports what it has measured so far
        result: Line = json.loads(replay.communicate(timeout=PATIENCE)[0])
    return result
