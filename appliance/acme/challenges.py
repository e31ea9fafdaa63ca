"""The proofs that a name leads here: made by the process that orders, found by the workers and the steward.

TLS-ALPN-01 (RFC 8737): a self-signed certificate for the name, with a digest in an extension, shown to whoever offers
the protocol acme-tls/1 and nothing else: the authority. Its file is called after the SHA-256 of the name, so nothing
that comes from the network is part of a path. A worker looks for it when it is asked, so it does not matter which one
is, or since when it runs. A flag in the shared memory says whether there is any reason to look.

HTTP-01 (RFC 8555, 8.3): a file called after the token.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

HTTP: Final = "http-01"
ALPN: Final = "acme-tls/1"
_IDENTIFIER: Final = "1.3.6.1.5.5.7.1.31"  # id-pe-acmeIdentifier
_OCTET_STRING: Final = b"\x04\x20"  # in DER, of 32 bytes


def file_for(name: str) -> str:
    """Return the name of the file with the certificate that is shown for a server's name."""
    return f"{hashlib.sha256(name.lower().encode()).hexdigest()}.pem"


class ChallengeContexts:
    """A worker's end: finds the TLS context for an authority that asks for a name."""

    def __init__(self, folder: Path, is_running: Callable[[], bool]) -> None:
        """`folder` is that of the challenges; `is_running` says whether there may be any."""
        self._folder = folder
        self._is_running = is_running

    @property
    def running(self) -> bool:
        """Whether there may be any."""
        return self._is_running()

    def context(self, name: str) -> ssl.SSLContext | None:
        """Return the context to show for this name; None if no challenge of it is running."""
        file = self._folder / file_for(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        try:
            context.load_cert_chain(file)
        except OSError:  # ssl.SSLError is one
            return None
        return context


def certificate(name: str, key_authorization: str, now: datetime) -> bytes:
    """Return the key and certificate that prove a name (RFC 8737, 3)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    digest = _OCTET_STRING + hashlib.sha256(key_authorization.encode()).digest()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - timedelta(days=1))
        .not_valid_after(now.astimezone(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(_IDENTIFIER), digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
