"""The page's server: who is answered, with what, and what a browser may do with it."""

import asyncio
import json
import re
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.testing import AsyncHTTPTestCase, gen_test

from appliance.config.loader import load
from appliance.preview import server
from appliance.preview.server import EventBroker, make_application
from appliance.preview.session import Session
from tests.factory import body_for
from tests.preview.live import write_files

TOKEN = "the-token-of-the-tests"
PAGES = ("preview", "card", "preview.css", "sidebar.css", "preview.js", "card.js", "customers.js", "icon.svg")
PATHS = (*PAGES, "customers", "answer", "events", "nothing", "")


class ServerTest(AsyncHTTPTestCase):
    """Over a socket of Tornado's test case."""

    def get_app(self):
        self.temporary = TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)
        write_files(self.folder)

        def read():
            return load(self.folder / "sidebard.toml", {})

        self.session = Session(read(), read().apps[0], read, self.folder / "imported")
        self.addCleanup(self.session.close)
        self.session.finish_import()
        self.broker = EventBroker(self.session, TOKEN)
        return make_application(self.broker)

    def ask(self, path, token=TOKEN, host=None, **more):
        headers = {"Host": host or f"127.0.0.1:{self.get_http_port()}"}
        return self.fetch(f"/{token}/{path}", headers=headers, follow_redirects=False, **more)

    def test_every_file_is_there(self):
        for page in PAGES:
            answer = self.ask(page)
            assert (answer.code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert {file.name for file in server._FOLDER.iterdir()} == {file for file, _, _ in server._FILES.values()}

    def test_nobody_is_answered_without_the_token(self):
        for path in PATHS:
            for token in ("", "another", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f"%20{TOKEN}", "é"):
                assert self.ask(path, token).code == 403
        for path in ("/", "//", f"/x/{TOKEN}/preview", "/favicon.ico", "/preview"):
            assert self.fetch(path).code == 403
        assert self.ask("answer", "another", method="POST", body='{"body": "{}"}').code == 403

    def test_a_target_that_is_no_path_is_refused(self):
        for target in ("*", "preview"):
            with socket.create_connection(("127.0.0.1", self.get_http_port())) as connection:
                connection.sendall(f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
                answer = self.io_loop.run_sync(lambda: asyncio.to_thread(connection.recv, 12))
            assert answer == b"HTTP/1.1 403"

    def test_nobody_is_answered_under_another_host(self):
        for path in PATHS:
            for host in ("rebound.example", "localhost.example", "10.0.0.1", "127.0.0.1.example"):
                assert self.ask(path, host=host).code == 403
        for host in ("localhost:1", "127.0.0.1", "[::1]:80"):  # a forwarded port is another one
            assert self.ask("preview", host=host).code == 200

    def test_what_is_not_there_is_not_found(self):
        for path in ("nothing", "", "page.html", "preview/", "..%2fserver.py", "preview.js/x"):
            assert self.ask(path).code == 404

    def test_a_page_by_a_url_of_before_leaves_the_frame_as_it_is(self):
        for query in ("", "X=1"):
            assert self.ask(f"page/live?{query}").code == 204

    def test_other_methods_are_refused(self):
        for path in ("preview", "customers", "events"):
            assert self.ask(path, method="POST", body="").code == 405
        assert self.ask("answer").code == 405

    def test_the_page_may_load_nothing_but_its_own(self):
        policy = self.ask("preview").headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert not re.search(r"unsafe|https?:|\*|data:", policy)
        html = self.ask("preview").body.decode()
        assert not re.search(r"<script>|<style|style=|\son\w+=|//", html)

    def test_nothing_runs_in_the_cards_frame(self):
        policy = self.ask("card").headers["Content-Security-Policy"]
        assert "default-src 'none'; style-src 'self';" in policy
        assert "sandbox allow-same-origin" in policy
        assert "script" not in policy
        assert 'sandbox="allow-same-origin"' in self.ask("preview").body.decode()

    def test_nothing_is_kept_and_nothing_is_said_of_the_software(self):
        for answer in (self.ask("preview"), self.ask("nothing"), self.ask("card", "another")):
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "Server" not in answer.headers
            assert "Etag" not in answer.headers

    def test_customers_are_searched(self):
        assert [one["name"] for one in json.loads(self.ask("customers?search=jackie").body)] == [
            "Jackie",
            "Jackie Chan",
        ]
        assert len(json.loads(self.ask("customers").body)) == 6

    def test_a_message_is_answered(self):
        question = {"body": body_for("ann@example.com").decode()}
        answer = json.loads(self.ask("answer", method="POST", body=json.dumps(question)).body)
        assert (answer["status"], answer["outcome"], answer["html"]) == (200, "found", "<h4>Ann Lee</h4>\n")
        answer = json.loads(self.ask("answer", method="POST", body=json.dumps({**question, "data": "not_loaded"})).body)
        assert answer["outcome"] == "not_loaded"

    def test_what_is_no_question_is_refused(self):
        for body in ("", "[]", "{}", '{"body": 1}', '{"body": "", "data": "other"}', b"\xff"):
            assert self.ask("answer", method="POST", body=body).code == 400

    def test_text_that_utf_8_cannot_hold_is_answered(self):
        answer = self.ask("answer", method="POST", body=r'{"body": "{\"customer\": \"\ud800\"}"}')
        assert answer.code in (200, 400)

    @gen_test
    async def test_changes_are_pushed(self):
        states = asyncio.Queue()
        buffer = b""

        def receive(chunk):
            nonlocal buffer
            *events, buffer = (buffer + chunk).split(b"\n\n")
            for event in events:
                states.put_nowait(json.loads(event.removeprefix(b"data: ")))

        client = AsyncHTTPClient(force_instance=True)
        stream = client.fetch(self.get_url(f"/{TOKEN}/events"), streaming_callback=receive, request_timeout=60)
        first = await states.get()
        assert (first["app"], first["rows"], first["faults"]) == ("helpscout", 6, [])
        (self.folder / "card.html").write_text("{% if %}")
        assert self.session.poll()
        self.broker.notify()
        assert (await states.get())["faults"][0]["place"] == "card.html:1"
        self.broker.close()
        await stream
        client.close()
        assert self.broker.listeners == set()


@pytest.mark.parametrize(
    ("address", "expected"),
    [(("127.0.0.1", 41234), "http://127.0.0.1:41234/t/preview"), (("::1", 80, 0, 0), "http://[::1]:80/t/preview")],
    ids=["IPv4", "IPv6"],
)
def test_the_address(address, expected):
    class Listener:
        def getsockname(self):
            return address

    assert server.url(Listener(), "t") == expected  # type: ignore[arg-type]
