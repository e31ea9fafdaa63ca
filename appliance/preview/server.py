"""The page's server: for one person on this machine, who has the address with the token.

Whatever the operator's card holds, it is shown in a frame of its own in which nothing runs and nothing is loaded.
"""

from __future__ import annotations

import asyncio
import hmac
import signal
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application

from appliance.observe.local_page import LocalPage
from appliance.preview.examples import Data
from appliance.preview.session import Session

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a preview in good order, a terminal that is closed too: what was imported for it must not stay."""

LOOK_SECONDS: Final = 0.25
PAGE: Final = "preview"
_FOLDER: Final = Path(__file__).parent / "page"
_MAX_REQUEST: Final = 4 * 1024 * 1024  # a message over Help Scout's limit is to be answered with what is said of it

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# No image either: the style guide has none, and one would tell its server who looks at which customer.
_CARD_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self';"
    " sandbox allow-same-origin"
)
_FILES: Final = {
    PAGE: ("page.html", "text/html", _PAGE_POLICY),
    "card": ("card.html", "text/html", _CARD_POLICY),
    "preview.css": ("preview.css", "text/css", _PAGE_POLICY),
    "sidebar.css": ("sidebar.css", "text/css", _PAGE_POLICY),
    "preview.js": ("preview.js", "text/javascript", _PAGE_POLICY),
    "card.js": ("card.js", "text/javascript", _PAGE_POLICY),
    "customers.js": ("customers.js", "text/javascript", _PAGE_POLICY),
    "icon.svg": ("icon.svg", "image/svg+xml", _PAGE_POLICY),
}
# Read now: the folder of an unpacked executable may be emptied under a running preview.
_CONTENTS: Final = {name: (_FOLDER / file).read_bytes() for name, (file, _kind, _policy) in _FILES.items()}


class Question(msgspec.Struct, frozen=True):
    """What the page posts: a message as it stands in the editor, and what the customers are taken to be."""

    body: str
    data: Data = Data.LIVE


class Hub:
    """Who is to be told when the state changes."""

    def __init__(self, session: Session, token: str) -> None:
        self.session: Final = session
        self.token: Final = token.encode()
        self.listeners: set[asyncio.Event] = set()
        self.closed = False

    def tell(self) -> None:
        """Wake everybody who listens."""
        for listener in self.listeners:
            listener.set()

    def close(self) -> None:
        """Send everybody home."""
        self.closed = True
        self.tell()


class _Page(LocalPage):
    """What every page has in common: who may ask, and what a browser may do with the answer."""

    def initialize(self, hub: Hub) -> None:
        """Take the hub."""
        self.hub = hub

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", _PAGE_POLICY)
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def prepare(self) -> None:
        super().prepare()
        given = self.request.path.removeprefix("/").partition("/")[0]  # another user here does not know the token
        if not self._finished and not hmac.compare_digest(given.encode(), self.hub.token):
            self.send_error(403)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        words = "Open the address that sidebard preview has printed." if status_code == 403 else ""
        self.finish(f"{words or HTTPStatus(status_code).phrase}\n")

    def finish_json(self, value: object) -> None:
        """Answer with a value."""
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))


class _File(_Page):
    """A file of the page's own."""

    def get(self, name: str) -> None:
        """Give it."""
        _file, kind, policy = _FILES[name]
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.set_header("Content-Security-Policy", policy)
        self.finish(_CONTENTS[name])


class _Customers(_Page):
    """The customers that a text finds."""

    def get(self) -> None:
        """Give some."""
        self.finish_json(self.hub.session.choices(self.get_query_argument("search", "")))


class _Answer(_Page):
    """The answer to a message."""

    def post(self) -> None:
        """Give it, with what the page shows beside."""
        try:
            question = msgspec.json.decode(self.request.body, type=Question)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.send_error(400)
            return
        # A lone surrogate, which a browser can send, is nothing that Help Scout could.
        self.finish_json(self.hub.session.answer(question.body.encode("utf-8", "replace"), question.data))


class _Events(_Page):
    """The state, now and whenever it changes, as server-sent events."""

    async def get(self) -> None:
        """Give one after the other until the page is closed."""
        self.set_header("Content-Type", "text/event-stream")
        self._changed = asyncio.Event()
        self.hub.listeners.add(self._changed)
        try:
            while not self.hub.closed:
                self._changed.clear()
                self.write(b"data: " + msgspec.json.encode(self.hub.session.state) + b"\n\n")
                await self.flush()
                await self._changed.wait()
        except StreamClosedError:
            pass  # the page was closed, and the next write has met it
        finally:
            self.hub.listeners.discard(self._changed)

    def on_connection_close(self) -> None:
        self._changed.set()


class _Nothing(_Page):
    """Everything else."""

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            self.send_error(404)


def make_application(hub: Hub) -> Application:
    """Give the application of the page."""
    names = "|".join(name.replace(".", r"\.") for name in _FILES)
    given = {"hub": hub}
    return Application(
        [
            (rf"/[^/]*/({names})", _File, given),
            (r"/[^/]*/customers", _Customers, given),
            (r"/[^/]*/answer", _Answer, given),
            (r"/[^/]*/events", _Events, given),
        ],
        default_handler_class=_Nothing,
        default_handler_args=given,
        log_function=lambda handler: None,
    )


def url(listener: socket.socket, token: str) -> str:
    """Give the page's address."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/{token}/{PAGE}" if ":" in host else f"http://{host}:{port}/{token}/{PAGE}"


async def serve(session: Session, listener: socket.socket, token: str) -> None:
    """Serve the page on a listening socket until one of ENDING, which were blocked and are again when it returns.

    The end takes its time, and a terminal and a bootloader may each send a signal for one press. nohup's SIGHUP stays
    ignored.
    """
    loop, stop, hub = asyncio.get_running_loop(), asyncio.Event(), Hub(session, token)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    server = HTTPServer(make_application(hub), max_body_size=_MAX_REQUEST, max_buffer_size=_MAX_REQUEST)
    listener.setblocking(False)
    server.add_socket(listener)
    watch = asyncio.create_task(_watch(hub))
    await stop.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    watch.cancel()
    server.stop()
    hub.close()
    await server.close_all_connections()


async def _watch(hub: Hub) -> None:
    """Look at the operator's files, and take over what an import has made once it ends."""
    session = hub.session
    while True:
        if session.look():
            hub.tell()
        if session.child is None:
            await asyncio.sleep(LOOK_SECONDS)
        elif await _is_readable(session.child.descriptor, LOOK_SECONDS):
            session.take()
            hub.tell()


async def _is_readable(descriptor: int, seconds: float) -> bool:
    """Say whether a descriptor becomes readable within so many seconds."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
