"""TLS: the server's contexts, made and checked before use, and the certificate for trying things out."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from appliance.edge import pem
from appliance.edge.certificate import Certificate, CertificateError, judge, read_chain, read_pem
from appliance.edge.trust import Verdict, verify
from appliance.system.files import write_atomically

# Mozilla's "intermediate" minus what an ECDHE-only server has no use for; TLS 1.3's suites are always on.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_LIFETIME: Final = timedelta(days=365)  # clients refuse more than 398 days
_RENEW_BEFORE: Final = timedelta(days=30)
_COMMON_NAME: Final = 64  # characters that it may have (RFC 5280, appendix A)
LOCALHOST: Final = "localhost"


Pair = tuple[Path, Path]


def load_pairs(pairs: Sequence[Pair], now: datetime) -> tuple[ssl.SSLContext, tuple[Certificate, ...]]:
    """Make a context that serves these pairs of certificate and key, and say what it serves.

    A client gets the first pair whose certificate is for the name it asks for, else the first. Raises
    CertificateError before any client could meet a broken one.
    """
    contexts, certificates = zip(*(load_pair(pair, now) for pair in pairs), strict=True)
    if len(contexts) > 1:
        # Tickets are sealed by the context that a connection began with: they resume under every name.
        contexts[0].sni_callback = _chooser(contexts, certificates)
    return contexts[0], certificates


def load_pair(pair: Pair, now: datetime) -> tuple[ssl.SSLContext, Certificate]:
    """Make a context that serves one pair, and say what it serves. Raises CertificateError."""
    file, key = pair
    chain, context = read_chain(file), server_context(file, key)
    # Without its chain no client accepts it, and one that is signed by itself is known as such.
    verdict = verify(context) if len(chain) > 1 else Verdict()
    return context, judge(file, chain, verdict, now)


def _chooser(
    contexts: Sequence[ssl.SSLContext], certificates: Sequence[Certificate]
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    def choose(connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
        for context, certificate in zip(contexts, certificates, strict=True):
            if name is not None and certificate.covers(name.lower()):
                connection.context = context
                return

    return choose


class DirectSSLObject(ssl.SSLObject):
    """An SSLObject whose read and write are its C object's own.

    The standard library's are methods that do nothing but call those: 1.5 us a request. Should a later Python keep the
    C object under another name, they are that again.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_sslobj" and value is not None:
            self.__dict__.update(read=value.read, write=value.write)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Make a context that serves this pair. Raises CertificateError."""
    chain_data, chain = read_pem(certificate, "certificate", lambda data: (data, pem.certificates(data)))
    key_data, (label, key_der) = read_pem(key, "key", lambda data: (data, pem.private_key(data)))
    chain_pem, key_pem = [pem.written("CERTIFICATE", der) for der in chain], [pem.written(label, key_der)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1  # a second costs 10 us of a handshake's 160, and helps who connects twice at once
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = DirectSSLObject
    try:
        with pem.readable(certificate, chain_data, chain_pem) as first, pem.readable(key, key_data, key_pem) as second:
            # Without a callback OpenSSL asks for a pass phrase on the terminal.
            context.load_cert_chain(first, second, password=_no_pass_phrase)
    except ssl.SSLError as error:
        raise CertificateError(_sentence(error, certificate, key)) from None
    return context


def _no_pass_phrase() -> str:
    raise AssertionError("an encrypted key is not given to OpenSSL")


def _sentence(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        return f"{certificate}: its key or signature is too weak for clients to accept; issue it on P-256 with SHA-256"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{certificate} and {key} do not belong together; name the key that this certificate was issued for"
    if error.reason in ("NO_START_LINE", "PEM_LIB", "BAD_BASE64_DECODE", None):
        return f"{certificate} or {key} is not a PEM file; convert it, or issue it again"
    return f"{certificate} with {key} cannot be used ({error.reason}); issue the certificate again"


def load_libraries(now: datetime) -> None:
    """Make a certificate and discard it, so that all that `self_signed` needs is loaded, down to what signing imports.

    A process that becomes another user may not find it any more afterwards.
    """
    _make(now)


def self_signed(folder: Path, now: datetime, name: str = LOCALHOST) -> tuple[Path, Path]:
    """Return the certificate and key for a name in `folder`, made if missing or near their end.

    No client trusts it by itself: it is for the first try, not for a help desk. Raises OSError.
    """
    certificate, key = self_signed_files(folder, name)
    if not _lasts(certificate, now) or not key.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate_pem, key_pem = _make(now, name)
        certificate.unlink(missing_ok=True)  # a crash leaves no certificate with the key of another
        write_atomically(key, key_pem)
        write_atomically(certificate, certificate_pem)
    return certificate, key


def self_signed_files(folder: Path, name: str = LOCALHOST) -> tuple[Path, Path]:
    """Return where the certificate and key for a name are, or will be."""
    return folder / f"{name}.crt", folder / f"{name}.key"


def _lasts(certificate: Path, now: datetime) -> bool:
    from cryptography import x509  # 40 ms, and only needed without a configured pair

    try:
        end = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return False
    return end - now > _RENEW_BEFORE


def _make(now: datetime, host: str = LOCALHOST) -> tuple[bytes, bytes]:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:_COMMON_NAME])])
    addresses = ("127.0.0.1", "::1") if host == LOCALHOST else ()
    names = [x509.DNSName(host), *(x509.IPAddress(ip_address(text)) for text in addresses)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - timedelta(hours=1))
        .not_valid_after(now.astimezone(UTC) - timedelta(hours=1) + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
