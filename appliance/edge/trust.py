"""Whether a client that trusts public authorities, as Help Scout does, accepts a server's certificate.

It is asked of this machine's own authorities, by a handshake in memory: OpenSSL builds the chain as a client's would.
What the authorities of another machine are cannot be seen from here, so the answer is a warning and no more.
"""

from __future__ import annotations

import os
import ssl
from typing import Final

UNKNOWN_AUTHORITY: Final = "issued by an authority that this machine does not know"
_STEPS: Final = 4
# OpenSSL's X509_V_ERR_ numbers (x509_vfy.h): a chain that leads to no known authority. Dates are looked at elsewhere.
_NO_AUTHORITY: Final = frozenset({18, 19, 20, 21})


def distrust(server: ssl.SSLContext) -> str:
    """Return why a client here would not trust the certificate of this context, "" if it would or none can tell."""
    if not _knows_authorities():
        return ""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_default_certs()
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True))
    for _ in range(_STEPS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return UNKNOWN_AUTHORITY if error.verify_code in _NO_AUTHORITY else ""
            except ssl.SSLError:  # such as no version in common, by an OPENSSL_CONF of the operator's
                return ""
    return ""


def _knows_authorities() -> bool:
    """Whether this machine has any authorities: a bare one has an empty folder for them."""
    paths = ssl.get_default_verify_paths()
    files: str | None = paths.cafile  # typeshed says that it is always there
    return files is not None or (paths.capath is not None and bool(os.listdir(paths.capath)))
