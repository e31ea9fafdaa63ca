"""The server of the page: for one person on this machine, who has the URL with the token.

Whatever the operator's card contains, it is shown in a frame of its own that runs no script and loads nothing. The page
of Help Scout's current platform, where the app has one, is in a frame that runs the page's own script alone.
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
from appliance.preview.examples import DataState
from appliance.preview.page_form import FRAME
from appliance.preview.session import Session

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a preview cleanly, including a closed terminal: what was imported for it is removed."""

POLL_SECONDS: Final = 0.25
PAGE: Final = "preview"
_FOLDER: Final = Path(__file__).parent / "page"
_MAX_REQUEST: Final = 4 * 1024 * 1024  # more than the service accepts, so that its refusal can be shown

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# No images either: the style guide has none, and one would tell its server which customer is looked at.
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
    "desk.js": ("desk.js", "text/javascript", _PAGE_POLICY),
    "card.js": ("card.js", "text/javascript", _PAGE_POLICY),
    "customers.js": ("customers.js", "text/javascript", _PAGE_POLICY),
    "icon.svg": ("icon.svg", "image/svg+xml", _PAGE_POLICY),
}
# Read now: the folder of an unpacked executable may be emptied under a running preview.
_CONTENTS: Final = {name: (_FOLDER / file).read_bytes() for name, (file, _kind, _policy) in _FILES.items()}


class PreviewRequest(msgspec.Struct, frozen=True):
    """What the page posts: the message in the editor, and the state of the data that the card is shown for."""

    body: str
    data: DataState = DataState.LIVE


class EventBroker:
    """Notifies the open pages when the state changes."""

    def __init__(self, session: Session, token: str) -> None:
        self.session: Final = session
        self.token: Final = token.encode()
        self.listeners: set[asyncio.Event] = set()
        self.closed = False

    def notify(self) -> None:
        """Wake all listeners."""
        for listener in self.listeners:
            listener.set()

    def close(self) -> None:
        """End all event streams."""
        self.closed = True
        self.notify()


class _PreviewPage(LocalPage):
    """What all pages have in common: who may ask for them, and what a browser may do with the response."""

    def initialize(self, broker: EventBroker) -> None:
        """Set the broker."""
        self.broker = broker

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", _PAGE_POLICY)
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def prepare(self) -> None:
        super().prepare()
        given = self.request.path.removeprefix("/").partition("/")[
            0
        ]  # another user of this machine does not know the token
        if not self._finished and not hmac.compare_digest(given.encode(), self.broker.token):
            self.send_error(403)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        words = "Open the URL that sidebard preview printed." if status_code == 403 else ""
        self.finish(f"{words or HTTPStatus(status_code).phrase}\n")

    def finish_json(self, value: object) -> None:
        """Send a value as JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))


class _File(_PreviewPage):
    """A file of the page."""

    def get(self, name: str) -> None:
        """Send it."""
        _file, kind, policy = _FILES[name]
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.set_header("Content-Security-Policy", policy)
        self.finish(_CONTENTS[name])


class _Customers(_PreviewPage):
    """The search for customers."""

    def get(self) -> None:
        """Send those that match."""
        self.finish_json(self.broker.session.choices(self.get_query_argument("search", "")))


class _Answer(_PreviewPage):
    """The service's response to a message."""

    def post(self) -> None:
        """Send it, with what the page shows beside it."""
        try:
            question = msgspec.json.decode(self.request.body, type=PreviewRequest)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.send_error(400)
            return
        # A browser can send a lone surrogate; a help desk cannot.
        self.finish_json(self.broker.session.answer(question.body.encode("utf-8", "replace"), question.data))


class _Framed(_PreviewPage):
    """The page of a conversation, in the frame beside the card."""

    def get(self, data: str) -> None:
        """Send it as it is served, but for whose frame it is in."""
        document = self.broker.session.page(self.request.query, DataState(data))
        if document is None:
            # Signed before the config, and with it the secret, was read anew: the frame stays as it is (RFC 9110,
            # 15.3.5), and gets another URL with the next state.
            self.set_status(204)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", FRAME.policy)
        self.finish(document)


class _Events(_PreviewPage):
    """The state, now and whenever it changes, as server-sent events."""

    async def get(self) -> None:
        """Send them until the page is closed."""
        self.set_header("Content-Type", "text/event-stream")
        self._changed = asyncio.Event()
        self.broker.listeners.add(self._changed)
        try:
            while not self.broker.closed:
                self._changed.clear()
                self.write(b"data: " + msgspec.json.encode(self.broker.session.state) + b"\n\n")
                await self.flush()
                await self._changed.wait()
        except StreamClosedError:
            pass  # the page was closed
        finally:
            self.broker.listeners.discard(self._changed)

    def on_connection_close(self) -> None:
        self._changed.set()


class _Nothing(_PreviewPage):
    """Everything else."""

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            self.send_error(404)


def make_application(broker: EventBroker) -> Application:
    """Return the application of the page."""
    names = "|".join(name.replace(".", r"\.") for name in _FILES)
    given = {"broker": broker}
    return Application(
        [
            (rf"/[^/]*/({names})", _File, given),
            (r"/[^/]*/customers", _Customers, given),
            (r"/[^/]*/answer", _Answer, given),
            (rf"/[^/]*/page/({'|'.join(DataState)})", _Framed, given),
            (r"/[^/]*/events", _Events, given),
        ],
        default_handler_class=_Nothing,
        default_handler_args=given,
        log_function=lambda handler: None,
    )


def url(listener: socket.socket, token: str) -> str:
    """Return the URL of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/{token}/{PAGE}" if ":" in host else f"http://{host}:{port}/{token}/{PAGE}"


async def serve(session: Session, listener: socket.socket, token: str) -> None:
    """Serve the page on a listening socket until one of ENDING, which must be blocked, and are again when it returns.

    They are blocked because the end takes time, and the terminal and the bootloader may each send a signal for one
    key press. A SIGHUP that nohup ignores stays ignored.
    """
    loop, stop, broker = asyncio.get_running_loop(), asyncio.Event(), EventBroker(session, token)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    server = HTTPServer(make_application(broker), max_body_size=_MAX_REQUEST, max_buffer_size=_MAX_REQUEST)
    listener.setblocking(False)
    server.add_socket(listener)
    watch = asyncio.create_task(_watch(broker))
    await stop.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    watch.cancel()
    server.stop()
    broker.close()
    await server.close_all_connections()


async def _watch(broker: EventBroker) -> None:
    """Look at the operator's files, and take over what an import has made once it ends."""
    session = broker.session
    while True:
        if session.poll():
            broker.notify()
        if session.child is None:
            await asyncio.sleep(POLL_SECONDS)
        elif await _is_readable(session.child.descriptor, POLL_SECONDS):
            session.finish_import()
            broker.notify()


async def _is_readable(descriptor: int, seconds: float) -> bool:
    """Return whether a descriptor becomes readable within some seconds."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), seconds)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
