"""The admin pages: who is answered, and how."""

from __future__ import annotations

import asyncio
import json

import pytest
from tornado.httpclient import HTTPResponse
from tornado.testing import AsyncHTTPTestCase, gen_test
from tornado.web import Application

from appliance.observe.admin import MAX_CONNECTIONS, AdminServer, make_application
from appliance.observe.health import SupervisorStatus, Workers, examine
from appliance.observe.local_page import is_loopback
from appliance.observe.status_page import FOLDER


class AdminTest(AsyncHTTPTestCase):
    """Over a socket of Tornado's test case."""

    ready = 1

    def get_app(self) -> Application:
        def health() -> object:
            workers = Workers(wanted=1, ready=self.ready, restarts=0, generations=())
            return examine(0.0, SupervisorStatus(), workers, None, None, None, {})

        return make_application(health, lambda: b"metric 1\n", lambda: b"<p>page</p>")  # type: ignore[arg-type]

    def get_http_server(self) -> AdminServer:
        return AdminServer(self._app)

    @gen_test
    async def test_too_many_connections_are_closed(self) -> None:
        port = self.get_http_port()
        several = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        for _, each in (*several, (reader, writer)):
            each.close()
            await each.wait_closed()
        answer = await self.http_client.fetch(self.get_url("/metrics"))
        assert answer.code == 200

    def ask(self, path: str, method: str = "GET", host: str = "localhost:9180") -> HTTPResponse:
        return self.fetch(path, method=method, headers={"Host": host}, allow_nonstandard_methods=True)

    def test_health_gives_its_reasons_with_a_503(self) -> None:
        answer = self.ask("/healthz")
        assert answer.code == 503
        assert json.loads(answer.body)["reasons"] == ["there is no customer data yet"]
        assert answer.headers["Content-Type"] == "application/json"

    def test_head_gives_no_body(self) -> None:
        answer = self.ask("/metrics", "HEAD")
        assert (answer.code, answer.body) == (200, b"")

    def test_metrics_are_plain_text(self) -> None:
        answer = self.ask("/metrics")
        assert (answer.code, answer.body) == (200, b"metric 1\n")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")

    def test_the_status_page_and_its_parts(self) -> None:
        answer = self.ask("/")
        assert (answer.code, answer.body) == (200, b"<p>page</p>")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        rules = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
        assert rules == {
            **dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'"),
            **dict.fromkeys(("style-src", "script-src", "connect-src"), "'self'"),
            "img-src": "data:",
        }
        for name, kind in (("status.css", "text/css"), ("status.js", "text/javascript")):
            part = self.ask(f"/{name}")
            assert part.code == 200
            assert part.headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert part.body == (FOLDER / name).read_bytes()

    def test_nothing_else_of_its_folder_is_given(self) -> None:
        for path in ("/status.html", "/page/status.css", "/../status.py", "/%2e%2e/status.py"):
            assert self.ask(path).code == 404

    def test_other_methods_and_paths_are_refused(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = self.ask("/healthz", method)
            assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert self.ask("/nothing").code == 404

    def test_other_hosts_are_refused_everywhere(self) -> None:
        for path in ("/", "/status.js", "/healthz", "/metrics", "/nothing"):
            assert self.ask(path, host="rebound.example").code == 403

    def test_nothing_is_kept_and_nothing_is_said_of_the_software(self) -> None:
        for answer in (self.ask("/healthz"), self.ask("/nothing"), self.ask("/metrics", host="x.example")):
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Server" not in answer.headers
            assert "Etag" not in answer.headers


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:9180", True),
        ("LOCALHOST", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("[::1]:9180", True),
        ("", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("[::2]", False),
        ("[::1", False),
        ("user@localhost", True),
        ("localhost@example.com", False),
    ],
)
def test_loopback_names(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
