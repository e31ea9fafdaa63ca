"""The certificates, and who may read and write the files that a config names."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.bootstrap import certificates
from appliance.bootstrap.sources import passwords
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, Status, fault, ok, warning
from appliance.checks.registry import check
from appliance.edge import pem
from appliance.edge.certificate import CertificateError
from appliance.edge.tls import load_pair


@check("certificate")
def certificate(context: CheckContext) -> Iterator[Finding]:
    """Each certificate is valid and matches its key.

    Its names, strength and chain are checked, the dates of every certificate of the chain, and whether this machine
    knows its authority.
    """
    if not context.settings.tls.enabled:
        yield ok("TLS is off; a proxy on this machine must provide it")
        return
    pairs = certificates.named_pairs(context.settings)
    if not pairs and context.settings.acme.enabled:
        yield ok("see the check acme")
    elif not pairs:
        yield warning(
            "none is configured, so a self-signed one for localhost is used, and Help Scout does not accept it; set"
            " tls.certificate and tls.key"
        )
    now = datetime.fromtimestamp(context.now, UTC)
    for file, key in pairs:
        try:
            _context, found = load_pair((file, key), now)
        except CertificateError as error:
            yield fault(str(error))
            continue
        yield from ((fault if flaw.refused else warning)(flaw.sentence) for flaw in found.flaws)
        if not any(flaw.refused for flaw in found.flaws):
            yield ok(f"{file}: valid for {', '.join(found.names)}, {found.validity.days_left(now):.0f} days left")


_PRIVATE: Final = ("secret", "key", "trail")
"""What not every user may read."""

_PROTECTED: Final = {"config": Status.WARNING, "secret": Status.WARNING, "key": Status.WARNING, "card": Status.FAULT}
"""What only its owner may change, and how bad it is if others can: a card is code that runs here."""


@check("permissions", at_start=True)
def permissions(context: CheckContext) -> Iterator[Finding]:
    """Files are protected from other users.

    Not every user can read secrets, keys and the audit trail, and only their owners can change the config, secrets,
    keys and cards.
    """
    good = True
    for what, file in _named(context):
        try:
            mode = file.stat().st_mode
        except OSError:
            continue  # another check reports a file that cannot be read
        where = f"{file} (mode {stat.S_IMODE(mode):04o})"
        if what in _PRIVATE and mode & stat.S_IROTH:
            good = False
            yield warning(f"{where}: every user of this machine can read the {what}; run chmod o-r on it")
        if what in _PROTECTED and mode & (stat.S_IWGRP | stat.S_IWOTH):
            good = False
            danger = ", and a card is code that runs here" if what == "card" else ""
            sentence = f"{where}: users other than its owner can change the {what}{danger}; run chmod go-w on it"
            yield Finding(_PROTECTED[what], sentence)
    if good:
        yield ok("only the intended users can read secrets, keys and trail, or change config, secrets, keys and cards")


def _named(context: CheckContext) -> Iterator[tuple[str, Path]]:
    settings = context.settings
    if settings.file is not None:
        yield "config", settings.file
    others = (settings.helpscout.api_id, settings.helpscout.api_secret, settings.log.hash_key)
    secrets = [*passwords(settings).values(), *(source for source in others if source is not None)]
    yield from (("secret", source.path) for source in secrets if source.path is not None)
    for app in settings.apps:
        yield from (("secret", source.path) for source in app.all_secrets if source.path is not None)
        if app.card is not None:
            yield "card", app.card
    of_acme = (settings.acme.eab, settings.acme.account_key)
    yield from (("secret", source.path) for source in of_acme if source is not None and source.path is not None)
    if settings.log.trail is not None:
        yield "trail", settings.log.trail
    for certificate, key in certificates.named_pairs(settings):
        yield "key", key
        if certificate != key and _contains_key(certificate):
            yield "key", certificate


def _contains_key(file: Path) -> bool:
    try:
        pem.private_key(file.read_bytes())
    except (OSError, pem.PemFault):
        return False
    return True
