"""The files that a config names, but the data: secrets, certificates, and who may read and write them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from appliance.bootstrap import certificates
from appliance.checks.context import Ground
from appliance.checks.finding import Finding, Status, fault, not_checked, ok, warning
from appliance.checks.secret_shapes import odd_shapes
from appliance.config.files import read_secrets
from appliance.config.schema import ConfigError
from appliance.config.values import SecretSource
from appliance.edge.certificate import CertificateFault
from appliance.edge.tls import load_pair
from appliance.system.privileges import entry_of

_READ_BY_ANYBODY: Final = stat.S_IROTH
_WRITTEN_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def config(ground: Ground) -> Iterator[Finding]:
    """Say which file it is; it was read before any check began."""
    yield ok(str(ground.settings.file or "given by flags"))
    user = ground.settings.server.user
    if user and os.geteuid() == 0:
        entry_of(user)  # raises what the start would say
    if ground.eyes is not None:
        why = "whom server.user names" if user else "who owns the state folder"
        yield ok(f"files are looked at as {ground.eyes.pw_name}, {why}")


def secrets(ground: Ground) -> Iterator[Finding]:
    """Read every secret, as the start does."""
    for app in ground.settings.apps:
        for source in app.secrets:
            where = f"{app.name}, {source}"
            if is_hidden(source, ground):
                yield not_checked(f"{where}: systemd passes it to the service alone, at its start")
                continue
            try:
                (secret,) = read_secrets(replace(app, secrets=(source,)), ground.environ)
            except ConfigError as error:
                yield from (fault(str(each)) for each in error.faults)
                continue
            yield from _judge(secret, where)


def is_hidden(source: SecretSource, ground: Ground) -> bool:
    """Whether a secret is a credential of systemd's that this process is not shown.

    Such is every process outside the unit; and with systemd 252 (Debian 12) what ExecReload= runs inside it, whose
    credentials folder is there in name and cannot be entered.
    """
    return source.kind == "credential" and not os.access(ground.environ.get("CREDENTIALS_DIRECTORY", ""), os.X_OK)


def _judge(secret: bytes, where: str) -> Iterator[Finding]:
    found = [f"{where}: {sentence}" for sentence in odd_shapes(secret)]
    yield from map(warning, found)
    if not found:
        yield ok(f"{where}: {len(secret)} bytes")


def certificate(ground: Ground) -> Iterator[Finding]:
    """Read every certificate, and load it with its key as a server would."""
    if not ground.settings.tls.enabled:
        yield ok("TLS is off, for a proxy on this machine")
        return
    pairs = certificates.named_pairs(ground.settings)
    if not pairs:
        yield warning(
            "none is named, so one that is made here for localhost is used, and Help Scout does not accept it; name"
            " tls.certificate and tls.key"
        )
    now = datetime.fromtimestamp(ground.now, UTC)
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


def permissions(ground: Ground) -> Iterator[Finding]:
    """Look at the modes of the files that only some may read or write."""
    good = True
    for what, file in _named(ground):
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


def _named(ground: Ground) -> Iterator[tuple[str, Path]]:
    settings = ground.settings
    if settings.file is not None:
        yield "config", settings.file
    for app in settings.apps:
        yield from (("secret", source.path) for source in app.secrets if source.path is not None)
        if app.card is not None:
            yield "card", app.card
    if settings.log.trail is not None:
        yield "trail", settings.log.trail
    yield from (("key", key) for _certificate, key in certificates.named_pairs(settings))
