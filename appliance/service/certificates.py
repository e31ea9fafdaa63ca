"""The certificates that the settings name: their files, and the context made of them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from appliance.config import Settings
from appliance.customers.guards import signature_of
from appliance.edge.tls import CertificateFault, load_pairs, self_signed, self_signed_files
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
    return signature_of(files_of(settings))


def load(settings: Settings) -> tuple[ssl.SSLContext | None, float | None]:
    """Make the TLS context that the settings ask for, and say when the first of its certificates ends.

    The end is in seconds since 1970; without TLS both are None. Raises StartFault.
    """
    tls = settings.tls
    if not tls.enabled:
        return None, None
    now = datetime.now(UTC)
    try:
        if tls.certificate is not None and tls.key is not None:
            pairs = [(tls.certificate, tls.key), *((pair.certificate, pair.key) for pair in tls.more)]
        else:
            pairs = [self_signed(certificate_folder(settings), now)]
            log.warning("self_signed_certificate", file=str(pairs[0][0]), todo="name tls.certificate and tls.key")
        context, certificates = load_pairs(pairs, now)
    except CertificateFault as fault:
        raise StartFault(str(fault)) from None
    except OSError as error:
        raise StartFault(f"{certificate_folder(settings)}: cannot be written: {error.strerror}") from None
    for certificate in certificates:
        for warning in certificate.warnings:
            log.warning("certificate_warning", file=str(certificate.file), message=warning)
    return context, min(certificate.not_after.timestamp() for certificate in certificates)
