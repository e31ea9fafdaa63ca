"""The paths of apps as the parser needs them: what takes the fast path, and what is a webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from appliance.edge.http_rules import Fields, HttpRefused, split_absolute
from appliance.edge.site import Mount
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import SignedRequest
from appliance.sidebar.protocols.helpscout_webhook import EVENT
from appliance.sidebar.protocols.signature import BodyCheck


class Route(NamedTuple):
    """A mount as the fast path needs it. `request_line` is that of a POST to it."""

    answer: Callable[[SignedRequest], Reply]
    name: str
    signature_name: bytes
    request_line: bytes
    event_name: bytes = b""
    """A POST with this header is a webhook, for the application; b"": none is."""
    begin_check: Callable[[], BodyCheck] | None = None
    """Begins a check of the signature of a webhook, if there are any."""


def make_route(path: bytes, mount: Mount) -> Route:
    """Return the route of a mount."""
    signature_name = mount.signature_header.lower().encode("ascii")
    route = Route(mount.app.answer, mount.app.name, signature_name, b"POST %b HTTP/1.1\r\n" % path)
    if mount.webhook is None:
        return route
    return route._replace(event_name=EVENT.lower().encode("ascii"), begin_check=mount.webhook.begin)


def find_webhook(routes: Mapping[bytes, Route], method: bytes, target: bytes, fields: Fields) -> Route | None:
    """Return the route that a request is a webhook of, however its target is spelled; None if it is none."""
    if method != b"POST":
        return None
    try:
        path = split_absolute(target)[0].partition(b"?")[0]
    except HttpRefused:  # the application refuses it
        return None
    route = routes.get(path)
    if route is None or not any(name.lower() == route.event_name for name, _ in fields):
        return None
    return route
