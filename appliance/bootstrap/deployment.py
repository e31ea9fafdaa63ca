"""All that the processes are made of, put together and checked before any of it is used."""

from __future__ import annotations

import os
import pwd
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from appliance.bootstrap import certificates
from appliance.bootstrap.state_folder import prepare_state, snapshot_folder
from appliance.bootstrap.wiring import import_spec_of, make_mounts, prepare_trail
from appliance.config.schema import Settings
from appliance.customers.snapshot import SnapshotMetadata
from appliance.customers.snapshot_store import newest
from appliance.edge.site import Mount
from appliance.edge.tls import load_libraries
from appliance.ingest.spec import ImportSpec
from appliance.observe.health import CertificateInfo
from appliance.observe.logs import log
from appliance.observe.shared_counters import SharedCounters
from appliance.system.privileges import as_owner


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """One state of the config and the certificates; the children that were made by it are of this setup."""

    settings: Settings
    plan: ImportSpec
    mounts: tuple[Mount, ...]
    context: ssl.SSLContext | None
    certificate: str  # what its files looked like
    served: tuple[CertificateInfo, ...]  # the certificates in use, the one that ends first at the front
    counters: SharedCounters
    log_key: bytes

    @property
    def workers(self) -> int:
        """How many workers there should be."""
        return worker_count(self.settings)

    def data(self) -> SnapshotMetadata | None:
        """Give the facts of the newest snapshot, if there is one to answer from."""
        return newest(snapshot_folder(self.settings), self.plan.digest())


def worker_count(settings: Settings) -> int:
    """Give how many workers the settings ask for: by default one for each CPU that this process may use."""
    return settings.server.workers or len(os.sched_getaffinity(0))


def make_setup(
    settings: Settings,
    environ: Mapping[str, str],
    before: Setup | None = None,
    owner: pwd.struct_passwd | None = None,
) -> Setup:
    """Put together what `settings` say. What is as it was `before` is kept: counters, and the keys of TLS tickets.

    What lies in the state folder, and the audit trail, are made and opened as `owner`, if this is still root.
    Raises ConfigError, StartError, and OSError if there is no memory for the counters.
    """
    if before is not None:
        settings = _keep_what_is_fixed(settings, before.settings)
    if owner is not None:
        load_libraries(datetime.now(UTC))
    with as_owner(owner):
        log_key = prepare_state(settings, before.log_key if before is not None else b"")
        prepare_trail(settings)
    mounts = make_mounts(settings, environ, log_key)
    shape = (tuple(mount.app.name for mount in mounts), worker_count(settings))
    certificate = certificates.signature(settings)
    if before is not None and before.certificate == certificate and before.settings.tls == settings.tls:
        context, served = before.context, before.served
    else:
        with as_owner(owner if not certificates.named_pairs(settings) else None):
            context, served = certificates.load(settings)
        certificate = certificate if before is not None else certificates.signature(settings)
    return Setup(
        settings=settings,
        plan=import_spec_of(settings),
        mounts=mounts,
        context=context,
        certificate=certificate,
        served=served,
        counters=before.counters if before is not None and before.counters.shape == shape else SharedCounters(*shape),
        log_key=log_key,
    )


def with_new_certificate(setup: Setup) -> Setup:
    """Give the same with the certificates as they are now. Raises StartError if they cannot be used."""
    seen = certificates.signature(setup.settings)  # before they are read: what changes meanwhile is seen again
    context, served = certificates.load(setup.settings)
    if not certificates.named_pairs(setup.settings):
        seen = certificates.signature(setup.settings)  # the self-signed one was made just now, if it was gone
    return replace(setup, context=context, certificate=seen, served=served)


def _keep_what_is_fixed(settings: Settings, before: Settings) -> Settings:
    """Give the settings with what only a restart can change as it was, and say what that is."""
    new, old = settings.server, before.server
    fixed = {
        "server.listen": new.listen != old.listen,
        "server.state": new.state != old.state,
        "server.user": new.user != old.user,
        "admin.listen": settings.admin != before.admin,
    }
    if any(fixed.values()):
        log.warning("needs_restart", keys=[key for key, changed in fixed.items() if changed])
    server = replace(new, listen=old.listen, state=old.state, user=old.user)
    return replace(settings, server=server, admin=before.admin)
