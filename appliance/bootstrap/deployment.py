"""A deployment: everything that the processes are made of, built and checked before any of it is used."""

from __future__ import annotations

import hashlib
import os
import pwd
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from appliance.bootstrap import certificates
from appliance.bootstrap.state_folder import prepare_state, snapshot_folder
from appliance.bootstrap.wiring import import_spec_of, make_mounts, prepare_trail
from appliance.config.files import read_acme_secret, read_api_credentials, read_hash_key
from appliance.config.schema import Settings
from appliance.customers.snapshot import SnapshotMetadata
from appliance.customers.snapshot_store import newest
from appliance.edge.site import Mount
from appliance.edge.tls import load_libraries
from appliance.errors import StartError
from appliance.inbox_api.client import Credentials
from appliance.ingest.spec import ImportSpec
from appliance.observe.health import CertificateInfo
from appliance.observe.logs import log
from appliance.observe.shared_counters import SharedCounters
from appliance.system.privileges import as_owner


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """One state of the config, its secrets, cards and certificates. Each worker and steward is of one deployment."""

    settings: Settings
    import_spec: ImportSpec
    mounts: tuple[Mount, ...]
    tls_context: ssl.SSLContext | None
    certificate_fingerprint: str
    certificates: tuple[CertificateInfo, ...]  # the first to expire first
    counters: SharedCounters
    log_key: bytes  # the one of the state folder, whatever key the hashes in the log have
    acme_secrets: tuple[bytes, bytes] = (b"", b"")
    """What acme.eab and acme.account_key name."""
    api_credentials: Credentials | None = None  # of Help Scout's Inbox API, if it is to be asked

    @property
    def workers(self) -> int:
        """The number of workers."""
        return worker_count(self.settings)

    def snapshot_metadata(self) -> SnapshotMetadata | None:
        """Return the metadata of the newest snapshot that was made by this import specification, or None."""
        return newest(snapshot_folder(self.settings), self.import_spec.digest())


def worker_count(settings: Settings) -> int:
    """Return the number of workers: by default one for each CPU that this process may use."""
    return settings.server.workers or len(os.sched_getaffinity(0))


def make_deployment(
    settings: Settings,
    environ: Mapping[str, str],
    previous: Deployment | None = None,
    owner: pwd.struct_passwd | None = None,
) -> Deployment:
    """Make a deployment of these settings. From the `previous` one it keeps the counters and the keys of TLS tickets.

    What is in the state folder, and the audit trail, are made and opened as `owner`, if this is still root.
    Raises ConfigError, StartError, and OSError if there is no memory for the counters.
    """
    if previous is not None:
        settings = _with_fixed_settings(settings, previous.settings)
    if owner is not None:
        load_libraries(datetime.now(UTC))
    with as_owner(owner):
        log_key = prepare_state(settings, previous.log_key if previous is not None else b"")
        prepare_trail(settings)
    mounts = make_mounts(settings, environ, _hash_key(settings, environ) or log_key)
    api_credentials = read_api_credentials(settings, environ)
    shape = (tuple(mount.app.name for mount in mounts), worker_count(settings))
    counters = previous.counters if previous is not None else None
    fingerprint = certificates.fingerprint(settings)
    # The names, too: of those that have no certificate yet, no file differs.
    if (
        previous is not None
        and previous.certificate_fingerprint == fingerprint
        and previous.settings.tls == settings.tls
        and previous.settings.acme.domains == settings.acme.domains
    ):
        context, loaded = previous.tls_context, previous.certificates
    else:
        with as_owner(owner):
            certificates.make_placeholders(settings)
        with as_owner(owner if not certificates.named_pairs(settings) else None):
            context, loaded = certificates.load(settings, at_start=previous is None)
        fingerprint = fingerprint if previous is not None else certificates.fingerprint(settings)
    return Deployment(
        settings=settings,
        import_spec=import_spec_of(settings),
        mounts=mounts,
        tls_context=context,
        certificate_fingerprint=fingerprint,
        certificates=loaded,
        counters=counters if counters is not None and counters.shape == shape else SharedCounters(*shape),
        log_key=log_key,
        acme_secrets=(
            read_acme_secret(settings, "eab", environ),
            read_acme_secret(settings, "account_key", environ),
        ),
        api_credentials=Credentials(*api_credentials) if api_credentials is not None else None,
    )


def with_new_certificate(deployment: Deployment) -> Deployment:
    """Return the deployment with the certificates that are in the files now. Raises StartError if they are unusable."""
    settings = deployment.settings
    if why := certificates.lost(settings, deployment.certificate_fingerprint):
        raise StartError(why)
    fingerprint = certificates.fingerprint(settings)  # first: a change while they are read is seen at the next poll
    context, loaded = certificates.load(settings)
    if not certificates.named_pairs(settings):
        fingerprint = certificates.fingerprint(settings)  # the self-signed one, if it was missing, was made just now
    return replace(deployment, tls_context=context, certificate_fingerprint=fingerprint, certificates=loaded)


def _hash_key(settings: Settings, environ: Mapping[str, str]) -> bytes | None:
    """Return the key of the log's hashes that `log.hash_key` makes, or None without one. Raises ConfigError."""
    secret = read_hash_key(settings, environ)
    return hashlib.blake2b(secret, digest_size=32).digest() if secret is not None else None


def _with_fixed_settings(settings: Settings, previous: Settings) -> Settings:
    """Return the settings with those of `previous` that only a restart can change, and log which of them differ."""
    new, old = settings.server, previous.server
    fixed = {
        "server.listen": new.listen != old.listen,
        "server.state": new.state != old.state,
        "server.user": new.user != old.user,
        "admin.listen": settings.admin != previous.admin,
        "acme.http": settings.acme.http != previous.acme.http,
    }
    if any(fixed.values()):
        log.warning("needs_restart", keys=[key for key, changed in fixed.items() if changed])
    server = replace(new, listen=old.listen, state=old.state, user=old.user)
    acme = replace(settings.acme, http=previous.acme.http)
    return replace(settings, server=server, acme=acme, admin=previous.admin)
