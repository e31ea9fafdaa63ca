"""The certificates that the settings name: their files, and the context made of them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.bootstrap.state_folder import certificate_folder, state_sentence
from appliance.config.schema import Settings
from appliance.edge.certificate import Certificate, CertificateError
from appliance.edge.tls import load_pairs, self_signed, self_signed_files
from appliance.errors import StartError
from appliance.observe.health import NOT_ACCEPTED, CertificateInfo
from appliance.observe.logs import log
from appliance.system.files import fingerprint_of

SELF_SIGNED: Final = "self-signed by sidebard"

# So much of the certificates fits the shared status, however many there are and whatever names they have.
_SHOWN: Final = 10
_NAMES: Final = 3
_NAME_LENGTH: Final = 100


def files_of(settings: Settings) -> tuple[Path, ...]:
    """Return every file of a certificate or key that is read; none without TLS."""
    if not settings.tls.enabled:
        return ()
    return tuple(file for pair in named_pairs(settings) for file in pair) or self_signed_files(
        certificate_folder(settings)
    )


def named_pairs(settings: Settings) -> list[tuple[Path, Path]]:
    """Return each certificate that the settings name, with its key; none without TLS or for the self-signed one."""
    tls = settings.tls
    if not tls.enabled or tls.certificate is None or tls.key is None:
        return []
    return [(tls.certificate, tls.key), *((pair.certificate, pair.key) for pair in tls.more)]


def fingerprint(settings: Settings) -> str:
    """Return the fingerprint of all files of certificates and keys; if it differs, so does their content."""
    return fingerprint_of(files_of(settings))


def load(settings: Settings) -> tuple[ssl.SSLContext | None, tuple[CertificateInfo, ...]]:
    """Return the TLS context that the settings ask for, and its certificates, the first to expire first.

    Without TLS there are none. Raises StartError.
    """
    if not settings.tls.enabled:
        return None, ()
    now = datetime.now(UTC)
    pairs = named_pairs(settings)
    is_self_signed = not pairs
    try:
        if is_self_signed:
            pairs = [self_signed(certificate_folder(settings), now)]
            if not settings.is_trial:
                log.warning(
                    "self_signed_certificate",
                    file=str(pairs[0][0]),
                    message=f"the certificate is self-signed by sidebard, so {NOT_ACCEPTED}",
                    todo="set tls.certificate and tls.key",
                )
        context, certificates = load_pairs(pairs, now)
    except CertificateError as fault:
        raise StartError(str(fault)) from None
    except OSError as error:
        raise StartError(state_sentence(settings.server.state, error)) from None
    if is_self_signed:  # which was logged above
        certificates = tuple(replace(each, flaws=(), distrust=SELF_SIGNED) for each in certificates)
    for certificate in certificates:
        for flaw in certificate.flaws:
            log.warning("certificate_warning", file=str(certificate.file), message=flaw.sentence)
    served = sorted(map(_describe, certificates), key=lambda each: each.ends)
    return context, tuple(served[:_SHOWN])


def _describe(certificate: Certificate) -> CertificateInfo:
    names = certificate.names
    shown = tuple(name[:_NAME_LENGTH] for name in names[:_NAMES])
    return CertificateInfo(
        shown,
        max(0, len(names) - _NAMES),
        certificate.validity.ends.timestamp(),
        certificate.distrust,
        certificate.renewal.timestamp(),
        certificate.issuer[:_NAME_LENGTH],
    )
