"""The admin pages, served without a service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from appliance.observe.admin import make_application
from appliance.observe.status_page import render
from tests.observe.busy import busy_status, health


class Server:
    """The admin pages in a thread; the page shows what `content` gives, or an error when that raises."""

    def __init__(self) -> None:
        self.content: Callable[[], bytes] = lambda: render(busy_status())
        self.asked = 0
        socket, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}/"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(socket,))
        self._thread.start()
        self._ready.wait()

    def _run(self, socket: Any) -> None:
        async def main() -> None:
            self._ending = asyncio.Event()
            server = HTTPServer(make_application(health, lambda: b"", self._page))
            server.add_sockets([socket])
            self._ready.set()
            await self._ending.wait()
            server.stop()
            await server.close_all_connections()

        self._loop.run_until_complete(main())
        self._loop.close()

    def _page(self) -> bytes:
        self.asked += 1
        return self.content()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
