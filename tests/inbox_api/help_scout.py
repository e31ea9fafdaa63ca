"""Help Scout's Inbox API, as far as it is asked, by its documentation; also on loopback, by TLS."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import trustme

from appliance.inbox_api.wire import Origin, Request, Response

API_ID = "the app's id"
API_SECRET = "the app's secret, which is & stays one"
UPDATED = "2026-01-02T03:04:05Z"
TOKEN_SECONDS = 172_800


class HelpScout:
    """The API of one account."""

    def __init__(self, customers: Mapping[int, tuple[str, ...]] | None = None) -> None:
        self.customers = dict(customers or {})
        self.merged: dict[int, int] = {}
        self.limit, self.remaining = 200, 200
        self.page_size = 50
        self.lists_emails = True
        self.tokens: list[str] = []
        self.revoked: set[str] = set()
        self.scripted: deque[Response | Exception | Callable[[Response], Response]] = deque()
        """What the next requests get in place of their answers, or what is made of these."""
        self.requests: list[Request] = []

    @property
    def paths(self) -> list[str]:
        """What was asked for, in this order; "token" stands for a token."""
        return ["token" if request.method == "POST" else request.path for request in self.requests]

    def answer(self, request: Request) -> Response:
        """Return the answer to a request."""
        self.requests.append(request)
        if not self.scripted:
            return self._answer(request)
        scripted = self.scripted.popleft()
        if isinstance(scripted, Exception):
            raise scripted
        return scripted if isinstance(scripted, Response) else scripted(self._answer(request))

    async def exchange(self, request: Request) -> Response:
        """The same, for a client without a network."""
        return self.answer(request)

    def _answer(self, request: Request) -> Response:
        if request.path == "/v2/oauth2/token":
            return self._token(request)
        token = request.fields.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or token in self.revoked:
            return self.error(401)
        self.remaining -= 1
        if self.remaining < 0:
            self.remaining = 0
            return self.error(429, **{"x-ratelimit-retry-after": "17"})
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        if path == "/v3/customers":
            return self._list(query.get("cursor", ["0"])[0])
        customer = int(path.removeprefix("/v2/customers/"))
        if customer in self.merged:
            return self.error(301, location=f"https://api.helpscout.net/v2/customers/{self.merged[customer]}")
        if customer not in self.customers:
            return self.error(404)
        return self.ok(self._customer(customer))

    def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form != {"grant_type": "client_credentials", "client_id": API_ID, "client_secret": API_SECRET}:
            return self.error(401)
        self.tokens.append(f"token-{len(self.tokens) + 1}-of-the-tests")
        body = {"token_type": "bearer", "access_token": self.tokens[-1], "expires_in": TOKEN_SECONDS}
        return Response(200, {}, json.dumps(body).encode())

    def _customer(self, customer: int, *, emails: bool = True) -> dict[str, Any]:
        entries = [{"id": 9, "value": one, "type": "work"} for one in self.customers[customer]]
        embedded = {"_embedded": {"emails": entries}} if emails else {}
        return {"id": customer, "firstName": "A", "updatedAt": UPDATED, "draft": False, **embedded}

    def _list(self, cursor: str) -> Response:
        if not cursor.isdigit():
            return self.error(400)
        ids, begin = sorted(self.customers, reverse=True), int(cursor)
        end = begin + self.page_size
        links = {"self": {"href": "x"}}
        if end < len(ids):
            links["next"] = {"href": f"https://api.helpscout.net/v3/customers?{urlencode({'cursor': end})}"}
        entries = [self._customer(one, emails=self.lists_emails) for one in ids[begin:end]]
        return self.ok({"_embedded": {"customers": entries}, "_links": links})

    def ok(self, body: object) -> Response:
        """Return an answer with this body, as PHP writes it."""
        return Response(200, self._limits(), json.dumps(body).replace("/", "\\/").encode())

    def error(self, status: int, **fields: str) -> Response:
        """Return an error with more header fields. Its words hold what must never be repeated."""
        body = {"logRef": "2b8a", "message": f"no, {API_SECRET}", "_embedded": {"errors": []}}
        return Response(status, {**self._limits(), **fields}, json.dumps(body).encode())

    def _limits(self) -> dict[str, str]:
        limits = {"limit": self.limit, "remaining": self.remaining}
        return {f"x-ratelimit-{name}-minute": str(number) for name, number in limits.items()}


class Server:
    """It, on loopback by TLS, with a certificate for localhost by an authority of its own."""

    def __init__(self, folder: Path, api: HelpScout, names: tuple[str, ...] = ("localhost",)) -> None:
        """The authority's certificate is written into `folder`."""
        authority = trustme.CA()
        ca = folder / "authority.pem"
        authority.cert_pem.write_to_path(ca)
        self.api = api
        self.connections = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._reply(b"")

            def do_POST(self) -> None:
                self._reply(self.rfile.read(int(self.headers["Content-Length"])))

            def _reply(self, body: bytes) -> None:
                fields = {"Authorization": self.headers.get("Authorization", "")}
                try:
                    response = outer.api.answer(Request(self.command, self.path, fields, body))
                except ConnectionError:
                    self.close_connection = True
                    return
                self.send_response(response.status)
                for name, value in response.fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Listener(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.origin = Origin("localhost", self._server.server_address[1], ca)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
