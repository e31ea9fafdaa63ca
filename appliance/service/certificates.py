"""The certificates that the settings name: their files, and the context made of them."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

from appliance.config import Settings
from appliance.edge.tls import CertificateFault, self_signed, self_signed_files, server_context
from appliance.observe.logs import log
from appliance.service.wiring import StartFault, certificate_folder


def files_of(settings: Settings) -> tuple[Path, ...]:
    """Give every file of a certificate or key that is read; none without TLS."""
    tls = settings.tls
    if not tls.enabled:
        return ()
    if tls.certificate is not None and tls.key is not None:
        return (tls.certificate, tls.key, *(file for pair in tls.more for file in pair))
    return self_signed_files(certificate_folder(settings))


def signature(settings: Settings) -> str:
    """Give what the files look like from outside; another one means another content."""
    return " ".join(map(_signature, files_of(settings)))


def _signature(file: Path) -> str:
    try:
        status = os.stat(file)
    except OSError:
        return "-"
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def make_context(settings: Settings) -> ssl.SSLContext | None:
    """Make the TLS context that the settings ask for; None without TLS. Raises StartFault."""
    tls = settings.tls
    if not tls.enabled:
        return None
    try:
        if tls.certificate is not None and tls.key is not None:
            return server_context(tls.certificate, tls.key)
        certificate, key = self_signed(certificate_folder(settings), datetime.now(UTC))
        log.warning("self_signed_certificate", file=str(certificate), todo="name tls.certificate and tls.key")
        return server_context(certificate, key)
    except CertificateFault as fault:
        raise StartFault(str(fault)) from None
    except OSError as error:
        raise StartFault(f"{certificate_folder(settings)}: cannot be written: {error.strerror}") from None


def end_of(settings: Settings) -> float | None:
    """Give when the first of the certificates ends, seconds since 1970; None without TLS."""
    from cryptography import x509  # 40 ms, and only needed here

    ends = []
    for file in files_of(settings)[::2]:  # certificate, key, certificate, key
        try:
            ends.append(x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp())
        except (OSError, ValueError):
            continue  # it was whole when the context was made; a changed one is on its way
    return min(ends, default=None)
