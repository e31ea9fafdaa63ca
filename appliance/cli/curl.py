"""The options that curl needs for a service on this machine whose certificate is for another name."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from appliance.bootstrap.certificates import named_pairs
from appliance.bootstrap.state_folder import certificate_folder
from appliance.config.schema import Settings
from appliance.edge.certificate import Certificate, CertificateError
from appliance.edge.tls import load_pair, self_signed_files

_LOCAL: Final = "localhost"


def reach(settings: Settings, url: str) -> tuple[list[str], str]:
    """Return curl's options, and the URL to give it, to reach `url` of the service with these settings.

    A URL of this machine is for tests: the certificate is trusted as it is, and the URL gets its name. Any other is
    left to curl and the authorities that this machine knows.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not _is_here(parts.hostname or ""):
        return [], url
    pairs = named_pairs(settings)
    if not pairs:
        return ["--cacert", str(self_signed_files(certificate_folder(settings))[0])], url
    try:
        _context, certificate = load_pair(pairs[0], datetime.now(UTC))
    except CertificateError:  # `check` reports it; curl will fail
        return [], url
    options, url = _by_name(certificate, parts, url)
    if certificate.distrust or not certificate.is_chained:
        options += ["--cacert", str(certificate.file)]
    return options, url


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == _LOCAL


def _by_name(certificate: Certificate, parts: SplitResult, url: str) -> tuple[list[str], str]:
    """Return curl's option, and the URL with the certificate's name in it, if it is not for the URL's own host."""
    host, port = parts.hostname or "", parts.port or 443
    names = [name for name in certificate.names if not _is_address(name)]
    if certificate.covers(host) or not names:
        return [], url
    name = names[0].replace("*", "sidebard")
    address = "127.0.0.1" if host == _LOCAL else f"[{host}]" if ":" in host else host
    netloc = f"{name}:{port}" if parts.port else name
    return ["--resolve", f"{name}:{port}:{address}"], parts._replace(netloc=netloc).geturl()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
