"""The certificates that the settings name: their files, and the context made of them."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.bootstrap.state_folder import acme_folder, certificate_folder, state_sentence
from appliance.config.schema import Settings
from appliance.edge.certificate import Certificate, CertificateError
from appliance.edge.tls import Pair, load_pair, load_pairs, self_signed, self_signed_files
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
    if settings.acme.enabled:
        own = (file for pair in settings.tls.more for file in pair)
        return (*(acme_pair(settings, name) for name in settings.acme.domains), *own)
    return tuple(file for pair in named_pairs(settings) for file in pair) or self_signed_files(
        certificate_folder(settings)
    )


def acme_pair(settings: Settings, name: str) -> Path:
    """Return the file with the certificate and key of a name of [acme], or where it will be."""
    return acme_folder(settings) / name / "pair.pem"


def named_pairs(settings: Settings) -> list[Pair]:
    """Return each certificate that the settings name, with its key; none without TLS or for a self-signed one.

    Those of [acme] are in one file with their keys, and are here once they are there.
    """
    tls = settings.tls
    if settings.acme.enabled:
        files = [acme_pair(settings, name) for name in settings.acme.domains]
        return [
            *((file, file) for file in files if os.path.exists(file)),  # not where this user may not look
            *((more.certificate, more.key) for more in tls.more),
        ]
    if not tls.enabled or tls.certificate is None or tls.key is None:
        return []
    return [(tls.certificate, tls.key), *((pair.certificate, pair.key) for pair in tls.more)]


def fingerprint(settings: Settings) -> str:
    """Return the fingerprint of all files of certificates and keys; if it differs, so does their content."""
    return fingerprint_of(files_of(settings))


def make_placeholders(settings: Settings) -> None:
    """Make the certificates that are served for the names of [acme] until there are others. Raises StartError."""
    try:
        for name in settings.acme.domains:
            self_signed(certificate_folder(settings), datetime.now(UTC), name)
    except OSError as error:
        raise StartError(state_sentence(settings.server.state, error)) from None


def lost(settings: Settings, before: str) -> str:
    """Return why the certificates in use stay in use although files have changed; "" if there is no reason to.

    That of [acme] whose file is gone is replaced when the next one comes. `before` is the fingerprint of those in use.
    """
    files = [acme_pair(settings, name) for name in settings.acme.domains]
    gone = [file for file, look in zip(files, before.split(" "), strict=False) if look != "-" and not file.exists()]
    return f"{gone[0]} is gone; the authority is asked for a new one, and until then it stays in use" if gone else ""


def load(settings: Settings, *, at_start: bool = False) -> tuple[ssl.SSLContext | None, tuple[CertificateInfo, ...]]:
    """Return the TLS context that the settings ask for, and its certificates, the first to expire first.

    Without TLS there are none. `at_start` nothing is in use that could stay in use: a certificate of [acme] that is
    damaged then counts as missing, for another can be had. Raises StartError.
    """
    if not settings.tls.enabled:
        return None, ()
    now = datetime.now(UTC)
    pairs = named_pairs(settings)
    placeholders: set[Path] = set()
    is_self_signed = not pairs and not settings.acme.enabled
    try:
        if settings.acme.enabled:
            own = [(more.certificate, more.key) for more in settings.tls.more]
            found = [_acme_pair(settings, name, now, at_start=at_start) for name in settings.acme.domains]
            placeholders = {certificate for certificate, key in found if certificate != key}
            pairs = [*found, *own]
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
        placeholders = {pairs[0][0]}
    certificates = tuple(
        replace(each, flaws=(), distrust=SELF_SIGNED) if each.file in placeholders else each for each in certificates
    )
    for certificate in certificates:
        for flaw in certificate.flaws:
            log.warning("certificate_warning", file=str(certificate.file), message=flaw.sentence)
    described = (
        _describe(each, is_placeholder=each.file in placeholders and settings.acme.enabled) for each in certificates
    )
    served = sorted(described, key=lambda each: each.ends)
    return context, tuple(served[:_SHOWN])


def _acme_pair(settings: Settings, name: str, now: datetime, *, at_start: bool) -> Pair:
    """Return the pair of a name of [acme], or the one to serve in its place. Raises CertificateError and OSError."""
    file = acme_pair(settings, name)
    if file.exists():
        try:
            load_pair((file, file), now)
        except CertificateError as fault:
            if not at_start:
                raise
            log.error("certificate_refused", why=str(fault))
        else:
            return file, file
    placeholder = self_signed(certificate_folder(settings), now, name)
    log.info("certificate_awaited", name=name, file=str(placeholder[0]))
    return placeholder


def _describe(certificate: Certificate, *, is_placeholder: bool) -> CertificateInfo:
    names = certificate.names
    shown = tuple(name[:_NAME_LENGTH] for name in names[:_NAMES])
    return CertificateInfo(
        shown,
        max(0, len(names) - _NAMES),
        certificate.validity.ends.timestamp(),
        certificate.distrust,
        certificate.renewal.timestamp(),
        certificate.issuer[:_NAME_LENGTH],
        is_placeholder,
    )
