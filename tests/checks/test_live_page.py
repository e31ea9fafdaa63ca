"""`sidebard check --self` for the page: what stands between a browser and it is told apart."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from appliance.checks.http_probe import target_of
from appliance.checks.live_page import check_page
from appliance.edge.refusals import Refusal
from appliance.outcomes import Reply, Response
from appliance.sidebar.protocols.base import BAD_SIGNATURE
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.query_signed import NOT_FRAMED, OTHER_NETWORK, Visit
from tests.checks.running import context
from tests.factory import SECRET, make_app

PAGE = HelpScoutPage([SECRET.encode()])
Way = Callable[[Response], Response]


@contextlib.contextmanager
def serving(way: Way) -> Iterator[str]:
    """Serve the page, with `way` between it and the browser."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            app = make_app(None, others=[PAGE])
            visit = Visit(self.path.partition("?")[2].encode(), "203.0.113.7", self.headers["Sec-Fetch-Dest"])
            response = way(app.answer(visit, PAGE).response)
            self.send_response(response.status)
            for name, value in (("Content-Length", str(len(response.body))), *response.headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/helpscout"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(folder: Path, way: Way = lambda response: response, app: str = "[app.page]") -> list[tuple[str, str]]:
    where = context(folder, app=app)
    with serving(way) as url:
        found = list(check_page(where, target_of(url, ssl.create_default_context()), where.settings.apps[0]))
    return [(finding.status.value, finding.sentence) for finding in found]


def instead(reply: Reply) -> Way:
    return lambda _: reply.response


def with_field(name: str, value: str) -> Way:
    def way(response: Response) -> Response:
        fields = {**dict(response.headers), name: value}
        return Response(response.status, response.body, response.content_type, tuple(fields.items()))

    return way


def with_body(change: Callable[[bytes], bytes]) -> Way:
    return lambda response: Response(response.status, change(response.body), response.content_type, response.headers)


def test_it_answers_correctly(tmp_path: Path) -> None:
    assert asked(tmp_path) == [("ok", "its page answers correctly")]


def test_of_some_inboxes_only(tmp_path: Path) -> None:
    [(status, _)] = asked(tmp_path, app="[app.page]\ninboxes = [7]")
    assert status == "warning"  # the service has none: it shows another page


def test_an_app_without_a_page(tmp_path: Path) -> None:
    assert asked(tmp_path, app="") == []


@pytest.mark.parametrize(
    ("way", "status", "said"),
    [
        (instead(BAD_SIGNATURE), "fault", "it has another secret for [app.page]"),
        (instead(NOT_FRAMED), "fault", "something in between changes Sec-Fetch-Dest"),
        (instead(OTHER_NETWORK), "not_checked", "is not served to this machine"),
        (instead(Refusal.BAD_METHOD.reply), "fault", "it serves no page at this path; reload it"),
        (instead(Refusal.NOT_FOUND.reply), "fault", "its page answers 404"),
        (with_field("X-Frame-Options", "SAMEORIGIN"), "fault", "something in between adds X-Frame-Options"),
        (with_field("Content-Security-Policy", "x"), "fault", "changes the page's Content-Security-Policy"),
        (with_body(lambda body: body.replace(b"\n", b"")), "warning", "its page differs from the one made here"),
    ],
    ids=["secret", "fetch header", "network", "no page", "not found", "frame options", "policy", "minified"],
)
def test_what_stands_between(way: Way, status: str, said: str, tmp_path: Path) -> None:
    [(found, sentence)] = asked(tmp_path, way)
    assert (found, said in sentence) == (status, True), sentence


def test_another_secret_here(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("another secret of the tests")
    app = 'secrets = ["file:secret"]\n[app.page]\nsecrets = ["file:other"]'
    [(status, said)] = asked(tmp_path, app=app)
    assert (status, "refuses the signature" in said) == ("fault", True)


def test_nobody_is_there(tmp_path: Path) -> None:
    where = context(tmp_path, app="[app.page]")
    with serving(lambda response: response) as url:
        target = target_of(url, ssl.create_default_context())
    [finding] = check_page(where, target, where.settings.apps[0])
    assert finding.status.value == "fault"


def test_networks_here_do_not_change_what_is_compared(tmp_path: Path) -> None:
    assert asked(tmp_path, app='[app.page]\nnetworks = ["198.51.100.0/24"]') == [("ok", "its page answers correctly")]
