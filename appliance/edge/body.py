"""The body of a request as it arrives: how large it may be, and what is held of it.

    a message     at most MAX_BODY_BYTES, held whole
    a webhook     at most MAX_WEBHOOK_BYTES; held whole up to MAX_BODY_BYTES, and beyond that only hashed

So no client has more than MAX_BODY_BYTES of a body held, whatever it sends.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.edge.refusals import MAX_BODY_BYTES, MESSAGE_LIMIT, WEBHOOK_LIMIT, BodyLimit
from appliance.sidebar.protocols.signature import BodyCheck


class Body:
    """The body of a message."""

    __slots__ = ("_held", "check", "limit")

    def __init__(self, limit: BodyLimit = MESSAGE_LIMIT) -> None:
        """Begin with nothing."""
        self.limit = limit
        self.check: BodyCheck | None = None
        """What has hashed a body that is too large to be held."""
        self._held: bytes | bytearray = b""

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return len(self._held)

    def add(self, data: bytes) -> bool:
        """Add what came next; return whether the body is within its limit."""
        held = self._held
        if not held:
            self._held = data  # nearly every body comes in one piece
        elif isinstance(held, bytearray):
            held += data
        else:
            self._held = bytearray(held) + data
        return len(self._held) <= MAX_BODY_BYTES

    def take(self) -> bytes:
        """Return all that is held, and hold nothing any more."""
        held, self._held = self._held, b""
        return held if isinstance(held, bytes) else bytes(held)


class WebhookBody(Body):
    """The body of a webhook."""

    __slots__ = ("_begin_check",)

    def __init__(self, begin_check: Callable[[], BodyCheck], length: int | None) -> None:
        """`begin_check` begins a check of the signature. `length` is announced, None if it is not."""
        super().__init__(WEBHOOK_LIMIT)
        self._begin_check = begin_check
        if length is not None and length > MAX_BODY_BYTES:
            self.check = begin_check()

    def add(self, data: bytes) -> bool:
        """See Body."""
        if self.check is None:
            if super().add(data):
                return True
            self.check = self._begin_check()
            data = self.take()
        self.check.add(data)
        return self.check.size <= self.limit.size
