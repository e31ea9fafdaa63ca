"""Whether the authority of [acme] can issue a certificate: what it will look at, looked at from here."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from appliance.bootstrap.state_folder import acme_folder
from appliance.checks.config import is_hidden
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, not_checked, ok, warning
from appliance.checks.registry import check
from appliance.checks.sockets import Listener, listeners
from appliance.config.acme import Directory
from appliance.config.files import read_acme_secret

if TYPE_CHECKING:
    from appliance.acme.caa import CaaRecords

_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443
_FAMILIES: Final = {4: ("A", "IPv4"), 6: ("AAAA", "IPv6")}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Network:
    """How the check looks at the network."""

    resolve: Callable[[str], list[Address]]
    """Returns a name's addresses. Raises OSError."""
    is_local: Callable[[Address], bool]
    """Returns whether an address is one of this machine's."""
    listeners: Callable[[], list[Listener]]
    caa: Callable[[str], CaaRecords | None]


@check("acme")
def acme(context: CheckContext) -> Iterator[Finding]:
    """With `[acme]`: each certificate is there, or why not, and the authority could issue one.

    The names lead here, also by IPv6 if they have an AAAA record; the directory can be reached, and trusted; its clock
    is ours; CAA records allow it.
    """
    settings = context.settings.acme
    if not settings.enabled:
        yield ok("not configured")
        return
    network = NETWORK
    for name in settings.domains:
        yield from _stored(context, name)
    yield from _secrets(context)
    is_public = not all(directory.is_own for directory in settings.directory)
    yield from _ports(context, network, is_public=is_public)
    if "INVOCATION_ID" in context.environ:  # a reload, which no name server may hold up
        yield not_checked("the authority and the names: not checked during a reload; see acme in /healthz")
        return
    issuers: set[str] = set()
    for directory in settings.directory:
        yield from _directory(context, directory, issuers)
    for name in settings.domains:
        yield from _name(context, name, network, is_public=is_public)
        yield from _caa(name, issuers, network)


def _stored(context: CheckContext, name: str) -> Iterator[Finding]:
    """Say what there is of a name, and why not more."""
    from appliance.acme.storage import Storage

    storage = Storage(acme_folder(context.settings))
    try:
        has_pair = storage.pair_file(name).exists()
    except PermissionError:
        yield not_checked(f"{name}: only the service's user, or root, can see its certificate")
        return
    state = storage.state(name)
    why = f"; the last attempt: {state.problem.sentence}" if state.problem is not None else ""
    if has_pair and not why:
        yield ok(f"{name} has a certificate, which is renewed automatically")
    elif has_pair:
        yield warning(f"{name} has a certificate that could not be renewed{why}")
    else:
        yield warning(f"{name} has no certificate yet; the service requests one when it runs{why}")


def _secrets(context: CheckContext) -> Iterator[Finding]:
    for key in ("eab", "account_key"):
        source = getattr(context.settings.acme, key)
        if source is not None and is_hidden(source, context):
            yield not_checked(f"acme.{key}: {source}: systemd passes it only to the service when it starts")
        elif source is not None:
            read_acme_secret(context.settings, key, context.environ)  # raises what is wrong


def _ports(context: CheckContext, network: Network, *, is_public: bool) -> Iterator[Finding]:
    """Say whether something listens where the authority asks."""
    settings = context.settings.acme
    heard = {each.port for each in network.listeners()}
    if settings.challenges == ("http-01",) and settings.http is None and _HTTP_PORT not in heard:
        yield warning(
            "acme.challenges has only http-01, and nothing listens on port 80; run `systemctl enable"
            ' sidebard-http.socket && systemctl restart sidebard`, or without systemd set acme.http = "0.0.0.0:80"'
        )
    ports = [endpoint.port for endpoint in context.settings.server.listen if endpoint.unix is None]
    if is_public and "tls-alpn-01" in settings.challenges and _HTTPS_PORT not in ports and _HTTPS_PORT not in heard:
        yield not_checked(
            "the authority connects to port 443, where nothing listens here; that is right if it is forwarded to"
            f" {', '.join(map(str, context.settings.server.listen))}"
        )


def _directory(context: CheckContext, directory: Directory, issuers: set[str]) -> Iterator[Finding]:
    """Ask an authority for its directory, and note by which names CAA records may call it."""
    from appliance.acme.attempt import clock_sentence
    from appliance.acme.client import Client, trust
    from appliance.acme.jws import SigningKey
    from appliance.acme.problems import AcmeError

    settings = context.settings.acme
    try:
        with closing(Client(directory.url, trust(settings.ca), SigningKey.generate(), time.time)) as client:
            client.resource("newOrder")
            meta, offset = client.meta, client.clock_offset
    except AcmeError as error:
        yield warning(str(error))
        return
    yield ok(f"{directory.url} can be reached")
    if sentence := clock_sentence(offset):
        yield warning(sentence)
    if meta.get("externalAccountRequired") is True and settings.eab is None:
        yield warning(
            f"{directory.url} requires an account that was created elsewhere; get a key id and key from the authority's"
            " account page, and name them in acme.eab"
        )
    profiles = _keys(meta.get("profiles"))
    if settings.profile and settings.profile not in profiles:
        offered = f"offers {', '.join(profiles)}" if profiles else "offers none"
        yield warning(f'{directory.url} {offered}, and not the profile "{settings.profile}"; correct acme.profile')
    found = meta.get("caaIdentities")
    if isinstance(found, list):
        issuers.update(each.lower() for each in found if isinstance(each, str))


def _keys(found: Any) -> list[str]:
    return [str(key) for key in found] if isinstance(found, dict) else []


def _name(context: CheckContext, name: str, network: Network, *, is_public: bool) -> Iterator[Finding]:
    """Say whether a name leads here, as far as that can be seen from inside."""
    try:
        addresses = network.resolve(name)
    except OSError as error:
        why = error.strerror or str(error)
        if is_public:
            yield warning(f"{name} has no address ({why}); add an A or AAAA record that points to this machine")
        else:
            yield not_checked(f"{name} has no address here ({why}); the authority may resolve it")
        return
    heard = _heard(context, network)
    for version, (record, family) in _FAMILIES.items():
        found = [address for address in addresses if address.version == version]
        shown = ", ".join(map(str, found))
        if not found:
            continue
        if version not in heard:
            yield warning(
                f"{name} has an {record} record ({shown}), but the service does not listen on {family}, to which"
                f" the authority may connect: listen on {family} too (server.listen), or remove the record"
            )
        elif is_public and not any(address.is_global for address in found):
            yield warning(
                f"{name} points to {shown}, which cannot be reached from the internet; correct its {record} record"
            )
        elif any(map(network.is_local, found)):
            yield ok(f"{name} points here: {shown}")
        else:
            yield not_checked(
                f"{name} points to {shown}, which is not an address of this machine; that is right if its ports are"
                " forwarded here"
            )


def _heard(context: CheckContext, network: Network) -> set[int]:
    """Return the versions of IP on which the service listens, or else will."""
    endpoints = [endpoint for endpoint in context.settings.server.listen if endpoint.unix is None]
    ports = {endpoint.port for endpoint in endpoints}
    held = [each.address for each in network.listeners() if each.port in ports]
    addresses = held or [ipaddress.ip_address(endpoint.host) for endpoint in endpoints]
    versions: set[int] = {address.version for address in addresses}
    if any(address.version == 6 and address.is_unspecified for address in held):
        versions.add(4)  # such a socket takes both, unless it was told not to
    return versions


def _caa(name: str, issuers: set[str], network: Network) -> Iterator[Finding]:
    """Say whether the CAA records allow one of the authorities, if these have said how they are called there."""
    if not issuers or (records := network.caa(name)) is None or issuers & set(records.issuers):
        return
    allowed = f"only {', '.join(records.issuers)}" if records.issuers else "no authority"
    inherited = "" if records.domain == name else f", which {name} inherits"
    yield warning(
        f'the CAA records of {records.domain}{inherited}, allow {allowed}; add one with 0 issue "{min(issuers)}"'
    )


def _resolve(name: str) -> list[Address]:
    found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found))


def _is_local(address: Address) -> bool:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _find_caa(name: str) -> CaaRecords | None:
    from appliance.acme import caa

    servers = caa.name_servers()
    return caa.find(name, lambda domain: caa.ask(domain, servers))


NETWORK: Final = Network(_resolve, _is_local, lambda: list(listeners()), _find_caa)
