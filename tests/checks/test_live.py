"""`sidebard check --self`: what a running service answers, and what stands between, are told apart."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import import_spec_of
from appliance.cards.builtin import not_loaded
from appliance.checks.context import CheckContext
from appliance.checks.finding import Status
from appliance.checks.http_probe import target_of
from appliance.checks.live import check_live
from appliance.cli.common import trust
from appliance.config.loader import load
from appliance.config.schema import Settings
from appliance.customers.snapshot import Snapshot, file_of
from appliance.edge.refusals import Refusal
from appliance.outcomes import Reply
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import Message
from tests.checks.running import settings
from tests.daemon import Daemon
from tests.edge.test_tls import NOW as NOW_OF_CHAINS
from tests.edge.test_tls import Issued, write
from tests.factory import CUSTOMERS, SECRET, kept, make_app, run_import, write_csv
from tests.ports import free_port

HEADER = "X-HelpScout-Signature"
NOW = datetime.now().astimezone()


class Came(NamedTuple):
    """What came to the server, to be changed before the app sees it."""

    path: str
    body: bytes
    signature: bytes | None


Way = Callable[[SidebarApp, Came], tuple[int, bytes]]


def answer(app: SidebarApp, message: Came) -> tuple[int, bytes]:
    """Answer as sidebard does."""
    if message.path != "/helpscout":
        return Refusal.NOT_FOUND.reply.response.status, Refusal.NOT_FOUND.reply.response.body
    reply: Reply = app.answer(Message(message.body, message.signature))
    return reply.response.status, reply.response.body


@contextlib.contextmanager
def serving(made: Callable[[], SidebarApp], way: Way = answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve an app, `made` in the thread that serves, with `way` between it and the client; give the URL."""
    app = cache(made)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signature = self.headers[HEADER]
            status, text = way(app(), Came(self.path, body, signature.encode() if signature else None))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of clients that do not like the certificate."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/helpscout"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    made = settings(tmp_path)
    run_import(import_spec_of(made), snapshot_folder(made))
    return made


def asked(
    home: Settings, url: str, ca: Path | None = None, *, insecure: bool = False, connect: str = ""
) -> list[tuple[str, str]]:
    context = trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca, insecure=insecure)
    found = list(check_live(CheckContext(home, {}, clock=NOW.timestamp), target_of(url, context, connect)))
    return [(finding.status.value, finding.sentence) for finding in found]


def app_of(home: Settings, *secrets: str, generation: int = 1) -> Callable[[], SidebarApp]:
    """Give what makes an app that answers from a snapshot of `home`."""
    file = file_of(snapshot_folder(home), generation)
    snapshot = kept(Snapshot(file, generation))
    return lambda: make_app(snapshot, secrets or (SECRET,))


def rewritten(app: SidebarApp, message: Came) -> tuple[int, bytes]:
    return answer(app, message._replace(body=json.dumps(json.loads(message.body)).encode()))


def unsigned(app: SidebarApp, message: Came) -> tuple[int, bytes]:
    return answer(app, message._replace(signature=None))


def pretty(app: SidebarApp, message: Came) -> tuple[int, bytes]:
    status, body = answer(app, message)
    return status, json.dumps(json.loads(body), indent=2).encode()


def other_card(app: SidebarApp, message: Came) -> tuple[int, bytes]:
    return 200, b'{"html":"<p>Another</p>"}'


def empty(app: SidebarApp, message: Came) -> tuple[int, bytes]:
    return 200, json.dumps({"html": not_loaded()}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("way", "status", "sentence"),
    [
        pytest.param(answer, "ok", "it answers correctly, after ", id="right"),
        pytest.param(
            rewritten, "fault", "the secret is right, but the body is changed in transit", id="JSON rewritten"
        ),
        pytest.param(unsigned, "fault", "removes the signature's header; give it this secret", id="no header"),
        pytest.param(pretty, "warning", "something in between rewrites the answer", id="answer rewritten"),
        pytest.param(other_card, "fault", "it has other customers or another card", id="another card"),
        pytest.param(empty, "fault", "it has no customers yet; see import_refused", id="no customers"),
        pytest.param(
            lambda *_: (200, b"<html>"), "fault", "its answer is not a card, so it is not sidebard", id="page"
        ),
        pytest.param(lambda *_: (302, b""), "fault", "a 302 that sidebard does not send", id="redirect"),
        pytest.param(lambda *_: (403, b"no"), "fault", "a 403 that sidebard does not send", id="firewall"),
        pytest.param(
            lambda *_: (500, Refusal.INTERNAL_ERROR.reply.response.body),
            "fault",
            "it answers 500: Something went wrong here; the log says what. Check",
            id="internal error",
        ),
    ],
)
def test_what_comes_back(way: Way, status: str, sentence: str, home: Settings) -> None:
    with serving(app_of(home), way) as url:
        [(found, said)] = asked(home, url)
    assert (found, sentence in said) == (status, True), said


def test_another_secret(home: Settings) -> None:
    with serving(app_of(home, "another secret")) as url:
        [(status, said)] = asked(home, url)
    assert (status, said.startswith("it refuses the signature: it has another secret")) == ("fault", True)


def test_a_new_secret_that_the_service_has_not_read(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a new secret of the tests")
    home = settings(tmp_path, app='secrets = ["file:new", "file:secret"]')
    run_import(import_spec_of(home), snapshot_folder(home))
    with serving(app_of(home, SECRET)) as url:
        [(status, said)] = asked(home, url)
    assert (status, said) == (
        "fault",
        "it accepts the second secret but not the first; reload the service, so that it reads the new one",
    )


def test_another_path(home: Settings) -> None:
    with serving(app_of(home)) as url:
        [(status, said)] = asked(home, url.replace("/helpscout", "/scout"))
        assert asked(home, url.removesuffix("/helpscout"))[0][0] == "ok"  # the app's own, where the URL has none
    assert status == "fault"
    assert said == "it serves nothing at /scout, and the config has /helpscout; correct the URL, or reload the service"


def test_old_data(home: Settings) -> None:
    write_csv(home.customers.source.path, [CUSTOMERS[0], *((*row[:2], "Gold") for row in CUSTOMERS[1:])])
    run_import(import_spec_of(home), snapshot_folder(home))
    with serving(app_of(home, generation=1)) as url:
        [(status, said)] = asked(home, url)
    assert (status, said) == ("fault", "it answers from old data, generation 1; restart it, and report this")


def test_a_file_that_is_not_imported_yet(home: Settings) -> None:
    write_csv(home.customers.source.path, CUSTOMERS[:3])
    with serving(app_of(home)) as url:
        (first, _), (second, said) = asked(home, url)
    assert (first, second, "has changed since its import" in said) == ("ok", "warning", True)


def test_without_a_snapshot_here(tmp_path: Path, home: Settings) -> None:
    (tmp_path / "elsewhere").mkdir()
    with serving(app_of(home)) as url:
        [(status, said)] = asked(settings(tmp_path / "elsewhere"), url)
    assert (status, "no snapshot here to compare" in said) == ("not_checked", True)


def test_a_credential_cannot_be_signed_with(tmp_path: Path) -> None:
    [(status, _)] = asked(settings(tmp_path, app='secrets = ["credential:helpscout"]'), "https://x.invalid/")
    assert status == Status.NOT_CHECKED


# No answer


def test_nobody_there(home: Settings) -> None:
    [(status, said)] = asked(home, f"http://127.0.0.1:{free_port()}/helpscout")
    assert (status, "nothing listens there; start the service" in said) == ("fault", True)


def test_no_such_name(home: Settings) -> None:
    [(status, said)] = asked(home, "https://sidebard.invalid/helpscout")
    assert (status, "this name has no address" in said) == ("fault", True)


def test_no_tls_there(home: Settings) -> None:
    with serving(app_of(home)) as url:
        [(status, said)] = asked(home, url.replace("http:", "https:"))
    assert (status, "does not speak TLS; correct the port, or begin the URL with http://" in said) == ("fault", True)


AUTHORITY = trustme.CA()


def lives(begin: int, end: int) -> dict[str, datetime]:
    """Give the dates of a certificate, in days from now."""
    return {"not_before": NOW + timedelta(days=begin), "not_after": NOW + timedelta(days=end)}


@pytest.mark.parametrize(
    ("names", "dates", "trusted", "status", "sentence"),
    [
        (["127.0.0.1"], lives(-1, 89), True, "ok", "its certificate is accepted, 89 days left"),
        (["127.0.0.1"], lives(-77, 13), True, "warning", "its certificate is accepted, 13 days left; renew it"),
        (["127.0.0.1"], lives(-1, 5), True, "ok", "its certificate is accepted, 5 days left"),
        (
            ["127.0.0.1"],
            lives(-9, -1),
            True,
            "fault",
            "the certificate, or one of its chain, has expired; renew it, or use the chain",
        ),
        (["127.0.0.1"], lives(1, 90), True, "fault", "the certificate is not valid yet"),
        (["other.example"], {}, True, "fault", "is not for this IP address"),
        (["127.0.0.1"], {}, False, "fault", "pass the authority's certificate with --ca"),
    ],
    ids=["good", "near its end", "six days", "expired", "not yet", "another name", "unknown authority"],
)
def test_certificates(
    names: list[str],
    dates: dict[str, Any],
    trusted: bool,
    status: str,
    sentence: str,
    home: Settings,
    tmp_path: Path,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names, **dates).configure_cert(context)
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(app_of(home), context=context) as url:
        found, said = asked(home, url, tmp_path / "ca.pem" if trusted else None)[0]
        assert asked(home, url, insecure=True)[0][0] == "ok"
    assert (found, sentence in said) == (status, True), said


@pytest.mark.parametrize(
    ("left", "status", "sentence"),
    [
        (100, "ok", ""),
        (5, "warning", "a certificate of its chain has 5 days left; use the chain that the authority issues now"),
        (-5, "fault", "the certificate, or one of its chain, has expired"),
    ],
    ids=["good", "near its end", "expired"],
)
def test_an_issuer_counts(left: int, status: str, sentence: str, home: Settings, tmp_path: Path) -> None:
    today = (datetime.now(UTC) - NOW_OF_CHAINS) / timedelta(days=1)
    root = Issued("root", begin=today - 900, days=2000)
    between = Issued("between", root, begin=today - 900, days=900.1 + left)
    one = Issued("localhost", between, names=["localhost"], begin=today - 1, days=90)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write(tmp_path, one, between))
    (tmp_path / "ca.pem").write_bytes(root.pem)
    with serving(app_of(home), context=context) as url:
        found = asked(home, url.replace("127.0.0.1", "localhost"), tmp_path / "ca.pem")
    assert any(said == status and sentence in text for said, text in found), found
    assert ("ok" in dict(found)) == (left > 0)
    assert len([text for said, text in found if said == "warning"]) == (status == "warning")


def test_a_certificate_for_another_name(home: Settings, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("other.example").configure_cert(context)
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(app_of(home), context=context) as url:
        [(status, said)] = asked(home, url.replace("127.0.0.1", "localhost"), tmp_path / "ca.pem")
    assert (status, "issue it for the name in the URL, or correct the URL" in said) == ("fault", True), said


def test_a_service_that_the_dns_does_not_know_yet(home: Settings, tmp_path: Path) -> None:
    """By the name in its certificate, at the address where it listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("support.example").configure_cert(context)
    ca = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(ca))
    with serving(app_of(home), context=context) as url:
        address = url.removeprefix("https://").removesuffix("/helpscout")
        found = asked(home, "https://support.example/helpscout", ca, connect=address)
        assert [status for status, _ in found] == ["ok", "ok"], found
        ((status, said),) = asked(home, "https://other.example/helpscout", ca, connect=address)
    assert (status, said.startswith(f"{address}: the certificate is for other names;")) == ("fault", True)


def test_a_real_service(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.healthy()
        ca = tmp_path / "state" / "self-signed" / "localhost.crt"
        found = asked(load(daemon.config, {}), f"https://127.0.0.1:{daemon.port}/helpscout", ca)
        assert [status for status, _ in found] == ["ok", "ok"], found
        assert daemon.stop() == 0
