"""The body of a request as it arrives: what is held of it, and how large it may be."""

from __future__ import annotations

from appliance.edge.refusals import MAX_BODY_BYTES


class Body:
    """A body that is held whole."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._held: bytes | bytearray = b""

    def __len__(self) -> int:
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
        """Return the whole body, and hold nothing any more."""
        held, self._held = self._held, b""
        return held if isinstance(held, bytes) else bytes(held)
