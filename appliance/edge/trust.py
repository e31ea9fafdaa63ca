"""Whether a client that trusts public authorities, as help desks do, accepts a server's certificate.

It is asked of this machine's own authorities, by a handshake in memory: OpenSSL builds the chain as a client's would.
What the authorities of another machine are cannot be seen from here, so the answer is a warning and no more.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import Final, NamedTuple

UNKNOWN_AUTHORITY: Final = "issued by an authority that this machine does not know"
_STEPS: Final = 4
# OpenSSL's X509_V_ERR_ numbers (x509_vfy.h): a chain that leads to no known authority; one that is too young or old.
_NO_AUTHORITY: Final = frozenset({18, 19, 20, 21})
_DATES: Final = frozenset({9, 10})
_NO_CHECK_TIME: Final = (
    0x200000  # X509_V_FLAG_NO_CHECK_TIME: dates are judged elsewhere, by the certificates on the path
)


class Verdict(NamedTuple):
    """What a client here makes of a server's certificate."""

    distrust: str = ""
    """Why it would not trust it; "" if it would, or if that cannot be told."""

    path: frozenset[bytes] | None = None
    """The certificates (DER) that lead it to an authority it knows; None if it accepts none, or it cannot be told.

    A certificate of the chain that is not among them is not needed, such as an old root signed by a still older one.
    """


def verify(server: ssl.SSLContext) -> Verdict:
    """Return what a client here makes of the certificate of this context."""
    if not _knows_authorities():
        return Verdict()
    try:
        return Verdict(path=_path(server))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NO_AUTHORITY:
            return Verdict(UNKNOWN_AUTHORITY)
        if error.verify_code in _DATES:
            with suppress(ssl.SSLError):
                return Verdict(path=_path(server, _NO_CHECK_TIME))
    except ssl.SSLError:  # such as no version in common, by an OPENSSL_CONF of the operator's
        pass
    return Verdict()


def _path(server: ssl.SSLContext, flags: int = 0) -> frozenset[bytes] | None:
    """Shake hands, and return the certificates (DER) that were used. Raises SSLError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags(client.verify_flags | flags)
    client.load_default_certs()
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(down, up)
    ends = (asking, server.wrap_bio(up, down, server_side=True))
    for _ in range(_STEPS):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return frozenset(verified_path(asking)) or None


def verified_path(connection: ssl.SSLObject | ssl.SSLSocket) -> list[bytes]:
    """Return the certificates (DER) by which a client has accepted the server's, that one first.

    Public only from Python 3.13 on.
    """
    path = connection._sslobj.get_verified_chain() or ()  # type: ignore[union-attr]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in path]


def _knows_authorities() -> bool:
    """Whether this machine has any authorities: a bare one has an empty folder for them."""
    paths = ssl.get_default_verify_paths()
    files: str | None = paths.cafile  # typeshed says that it is always there
    return files is not None or (paths.capath is not None and bool(os.listdir(paths.capath)))
