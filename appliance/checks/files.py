"""The certificates, and who may read and write the files that a config names."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from appliance.bootstrap import certificates
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, Status, fault, ok, warning
from appliance.checks.registry import check
from appliance.edge.tls import CertificateFault, load_pair

_READ_BY_ANYBODY: Final = stat.S_IROTH
_WRITTEN_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


@check("certificate")
def certificate(context: CheckContext) -> Iterator[Finding]:
    """Each certificate: names, dates, order of the chain, strength, key, and whether its authority is known here."""
    if not context.settings.tls.enabled:
        yield ok("TLS is off, for a proxy on this machine")
        return
    pairs = certificates.named_pairs(context.settings)
    if not pairs:
        yield warning(
            "none is named, so one that is made here for localhost is used, and Help Scout does not accept it; name"
            " tls.certificate and tls.key"
        )
    now = datetime.fromtimestamp(context.now, UTC)
    for file, key in pairs:
        try:
            _context, found = load_pair((file, key), now)
        except CertificateFault as error:
            yield fault(str(error))
            continue
        yield from ((fault if flaw.refused else warning)(flaw.sentence) for flaw in found.flaws)
        if not any(flaw.refused for flaw in found.flaws):
            yield ok(f"{file}: for {', '.join(found.names)}, {found.validity.days_left(now):.0f} days left")


class _Rule(NamedTuple):
    """What the mode of a file must not have."""

    what: str
    bits: int
    status: Status
    sentence: str


_MODES: Final = (
    _Rule("secret", _READ_BY_ANYBODY, Status.WARNING, "everybody on this machine can read the secret; chmod o-r it"),
    _Rule("key", _READ_BY_ANYBODY, Status.WARNING, "everybody on this machine can read the key; chmod o-r it"),
    _Rule("trail", _READ_BY_ANYBODY, Status.WARNING, "everybody on this machine can read the trail; chmod o-r it"),
    _Rule("config", _WRITTEN_BY_OTHERS, Status.WARNING, "others than its owner can change the config; chmod go-w it"),
    _Rule("secret", _WRITTEN_BY_OTHERS, Status.WARNING, "others than its owner can change the secret; chmod go-w it"),
    _Rule("key", _WRITTEN_BY_OTHERS, Status.WARNING, "others than its owner can change the key; chmod go-w it"),
    _Rule(
        "card",
        _WRITTEN_BY_OTHERS,
        Status.FAULT,
        "others than its owner can change the card, and a card is code that runs here; chmod go-w it",
    ),
)


@check("permissions", at_start=True)
def permissions(context: CheckContext) -> Iterator[Finding]:
    """Not everyone can read secrets, keys, access trail; only owners can change config, secrets, keys, cards."""
    good = True
    for what, file in _named(context):
        try:
            mode = file.stat().st_mode
        except OSError:
            continue  # that it cannot be read is for its own check to say
        for rule in _MODES:
            if rule.what == what and mode & rule.bits:
                good = False
                yield Finding(rule.status, f"{file} (mode {stat.S_IMODE(mode):04o}): {rule.sentence}")
    if good:
        yield ok("only those who should can read the secrets, keys and trail, and change the config and cards")


def _named(context: CheckContext) -> Iterator[tuple[str, Path]]:
    settings = context.settings
    if settings.file is not None:
        yield "config", settings.file
    for app in settings.apps:
        yield from (("secret", source.path) for source in app.secrets if source.path is not None)
        if app.card is not None:
            yield "card", app.card
    if settings.log.trail is not None:
        yield "trail", settings.log.trail
    yield from (("key", key) for _certificate, key in certificates.named_pairs(settings))
