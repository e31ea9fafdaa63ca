"""The public port: accepts connections on listening sockets and serves a site on them, over Tornado's HTTPServer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from appliance.edge.site import Limits, Site
from appliance.edge.web import Activity, make_application
from appliance.observe.logs import RequestLog
from appliance.sidebar.reply import MAX_HEADER_BYTES, Reply


def server_options(idle_timeout: float, body_timeout: float) -> dict[str, Any]:
    """Give HTTPServer's limits; what it leaves open by default is an hour and 100 MB."""
    return {
        "idle_connection_timeout": idle_timeout,
        "body_timeout": body_timeout,
        "max_header_size": MAX_HEADER_BYTES,
        "max_body_size": 2**62,  # Tornado's own body limit answers a bare 400; the handler's answers 413
        "max_buffer_size": 2 * 1024 * 1024,
        "chunk_size": 64 * 1024,
    }


class _Counted(RequestLog):
    """Tells the counters of what the log is told."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        self._site.counters.request(app, reply.outcome, reply.cache, duration_us / 1_000_000)
        self._site.request_log.write(reply, app, duration_us, peer)


class _Server(HTTPServer):
    """Knows its connections, and which of them have not brought a request yet."""

    site: Site

    def initialize(self, *arguments: Any, **options: Any) -> None:
        super().initialize(*arguments, **options)
        self.connections = 0
        self.fresh: set[object] = set()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        self.connections += 1
        self.site.counters.connection_opened()
        known = set(self._connections)
        super().handle_stream(stream, address)
        self.fresh |= self._connections - known

    def start_request(self, server_conn: object, request_conn: Any) -> Any:
        delegate = super().start_request(server_conn, request_conn)
        received = delegate.headers_received

        def headers_received(start_line: Any, headers: Any) -> Any:
            self.fresh.discard(server_conn)
            return received(start_line, headers)

        delegate.headers_received = headers_received  # type: ignore[method-assign]
        return delegate

    def on_close(self, server_conn: object) -> None:
        self.connections -= 1
        self.fresh.discard(server_conn)
        self.site.counters.connection_closed()
        super().on_close(server_conn)


class Listener:
    """Serves a site on sockets."""

    def __init__(
        self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None, site: Site, limits: Limits
    ) -> None:
        """Take everything; nothing is accepted before `start`."""
        self._sockets = list(sockets)
        self._activity = Activity()
        mounts = tuple(site.mounts.values())
        self._server = _Server(
            make_application(mounts, _Counted(site), site.timer, self._activity),
            ssl_options=context,
            **server_options(limits.idle_timeout, limits.body_timeout),
        )
        self._server.site = site

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._server.connections

    def start(self) -> None:
        """Accept connections from now on."""
        self._server.add_sockets(self._sockets)

    def stop(self) -> None:
        """Accept no more."""
        self._server.stop()

    async def drain(self, seconds: float) -> int:
        """Let what runs finish, for at most `seconds`, and close everything; give how many requests were cut off."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (self._activity.running or self._server.fresh) and loop.time() < end:
            await asyncio.sleep(0.01)
        cut = self._activity.running
        await self._server.close_all_connections()
        return cut
