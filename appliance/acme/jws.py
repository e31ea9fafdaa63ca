"""Signatures as ACME wants them: JWS in its flattened form (RFC 7515), ES256, and the key that signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

_SIZE: Final = 32  # bytes of a number on P-256
Json = dict[str, object]


class KeyFault(ValueError):
    """It is not a key that can sign; the text says why."""


def base64url(data: bytes) -> str:
    """Return data in base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode(value: object) -> bytes:
    """Return a value as JSON without white space."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class SigningKey:
    """A private key on P-256: an account's, or a certificate's."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.private: Final = key
        numbers = key.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(_SIZE, "big")) for number in (numbers.x, numbers.y))
        self.jwk: Final[Json] = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        self.thumbprint: Final = base64url(hashlib.sha256(encode(self.jwk)).digest())  # RFC 7638

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new one."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> SigningKey:
        """Read one that was written as PEM. Raises KeyFault."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFault("is not an unencrypted private key in PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyFault("is not a key on P-256")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The key as PEM."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, url: str, nonce: str, payload: object, kid: str = "") -> bytes:
        """Return a signed request (RFC 8555, 6.2). A payload of None reads; without `kid` the key is sent along."""
        who: Json = {"kid": kid} if kid else {"jwk": self.jwk}
        protected = base64url(encode({"alg": "ES256", "nonce": nonce, "url": url, **who}))
        body = "" if payload is None else base64url(encode(payload))
        der = self.private.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(number.to_bytes(_SIZE, "big") for number in decode_dss_signature(der))
        return encode({"payload": body, "protected": protected, "signature": base64url(signature)})


def bind_external(key: SigningKey, url: str, key_id: str, mac_key: bytes) -> Json:
    """Return the proof that an account belongs to one that was made elsewhere (RFC 8555, 7.3.4)."""
    protected = base64url(encode({"alg": "HS256", "kid": key_id, "url": url}))
    body = base64url(encode(key.jwk))
    signature = hmac.digest(mac_key, f"{protected}.{body}".encode(), "sha256")
    return {"payload": body, "protected": protected, "signature": base64url(signature)}
