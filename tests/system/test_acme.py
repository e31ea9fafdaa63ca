"""Certificates from pebble, by a running service."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509

from tests.acme.pebble import MISSING, Pebble
from tests.daemon import Daemon, Line, free_port, until

pytestmark = pytest.mark.skipif(bool(MISSING), reason="apt-get install pebble")


def acme(pebble: Pebble, more: str) -> str:
    return f'[acme]\ndomains = ["sidebar.test"]\ndirectory = "{pebble.url}"\nca = "{pebble.ca}"\n{more}\n'


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
        Daemon(tmp_path, config=acme(pebble, ""), workers=2, listen=f"127.0.0.1:{port}") as daemon,
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
