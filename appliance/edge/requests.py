"""What the bytes of a connection lead to: a request for the fast path or for the application, or a refusal."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.edge.http_rules import Fields
from appliance.edge.refusals import Refusal
from appliance.edge.routes import Route
from appliance.sidebar.protocols.signature import BodyCheck


class Request(msgspec.Struct, frozen=True, gc=False):
    """A complete request for the application. `keeps` if the connection may persist after it.

    `check` has hashed a webhook's body that is too large to be held; then `body` is b"".
    """

    method: bytes
    target: bytes
    version: str
    fields: Fields
    body: bytes
    keeps: bool
    check: BodyCheck | None = None


class SignedPost(msgspec.Struct, frozen=True, gc=False):
    """A complete request for the app of `route`. `signature` is the value of its header, b"" if there are two."""

    route: Route
    body: bytes
    signature: bytes | None
    version: str
    keeps: bool
    encoding: str = ""  # its Content-Encoding


class Continue(enum.Enum):
    """The head is complete, and the client waits for "100 Continue" before it sends the body."""

    CONTINUE = enum.auto()


CONTINUE: Final = Continue.CONTINUE
Event = Request | SignedPost | Refusal | Continue | None
