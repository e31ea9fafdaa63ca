"""Certificates: what is in a file, and whether a client could accept it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

from appliance.edge import pem
from appliance.edge.trust import Verdict
from appliance.errors import SidebardError
from appliance.observe.health import NOT_ACCEPTED
from appliance.system.account import todo_of

if TYPE_CHECKING:
    from cryptography import x509

T = TypeVar("T")
_KINDS: Final = {"certificate": "certificate", "key": "private key"}
_RSA_BITS: Final = 2048
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
SELF_SIGNED: Final = "signed by itself"
# Later than any automatic renewal, which comes after two thirds of the lifetime, or half of a short one.
_NEAR_SHARE: Final = 6
_NEAR_MOST: Final = 14 * _DAY


class CertificateError(SidebardError):
    """The certificate or key cannot be used; the text is a sentence that says which file and what to do."""


class Flaw(NamedTuple):
    """What a client may find wrong with a certificate. `refused`: every client does, yet it is served all the same."""

    sentence: str
    refused: bool


class Validity(NamedTuple):
    """From when until when a certificate is good."""

    begins: datetime
    ends: datetime

    def days_left(self, now: datetime) -> float:
        """Return how many days are left until it expires; below zero once it has."""
        return (self.ends - now) / _DAY

    @property
    def renewal(self) -> datetime:
        """From when on it is near its end: in the last sixth of its lifetime, and at most 14 days before."""
        return self.ends - min(_NEAR_MOST, (self.ends - self.begins) / _NEAR_SHARE)

    def is_near_end(self, now: datetime) -> bool:
        """Whether it should have been renewed by now."""
        return now >= self.renewal


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that is served."""

    names: tuple[str, ...]
    validity: Validity
    """That of the certificate that ends first: its own, or that of one in its chain."""

    renewal: datetime
    """From when on one of them is near its end."""

    file: Path
    issuer: str = ""
    """The name of the certificate of the chain that ends first; "" if none ends before the server's own."""

    flaws: tuple[Flaw, ...] = ()
    distrust: str = ""
    """Why Help Scout does not accept it, as far as can be told; "" if it may."""

    is_chained: bool = True
    """Whether its issuer is in the file."""

    def covers(self, name: str) -> bool:
        """Return whether it is for this name, in lower case; "*" stands for the first label alone (RFC 6125, 6.4.3)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


class _Link(NamedTuple):
    """One certificate of a chain."""

    number: int
    """Where it stands in the file; the first is the server's own."""

    name: str
    validity: Validity


def read_chain(file: Path) -> Sequence[x509.Certificate]:
    """Return the certificates in `file`, the server's own first. Raises CertificateError."""
    from cryptography import x509  # 40 ms, and only needed where certificates are read

    chain = []
    for number, der in enumerate(read_pem(file, "certificate", pem.certificates), 1):
        try:
            chain.append(x509.load_der_x509_certificate(der))
        except ValueError:
            raise CertificateError(
                f"{file}: certificate {number} is damaged; copy it again, or issue it again"
            ) from None
    _check_key(file, chain[0])
    _check_order(file, chain)
    return chain


def read_pem(file: Path, what: Literal["certificate", "key"], find: Callable[[bytes], T]) -> T:
    """Return what `find` finds in a file; `what` is the key of the config that names it. Raises CertificateError."""
    try:
        return find(file.read_bytes())
    except OSError as error:
        raise CertificateError(f"{file}: tls.{what} cannot be read: {error.strerror}; {todo_of(error)}") from None
    except pem.PemFault as fault:
        raise CertificateError(f"{file} is not a PEM file with a {_KINDS[what]}: {fault}") from None


def judge(file: Path, chain: Sequence[x509.Certificate], verdict: Verdict, now: datetime) -> Certificate:
    """Return what a chain is good for. `verdict` is what a client here makes of it.

    One that is over or not yet good is served with a warning, for no answer at all helps nobody: but health shows it.
    """
    leaf = chain[0]
    names, links = _names(leaf), _needed(chain, verdict)
    first = min(links, key=lambda link: link.validity.ends)
    distrust = SELF_SIGNED if leaf.issuer == leaf.subject else verdict.distrust
    return Certificate(
        names,
        first.validity,
        min(link.validity.renewal for link in links),
        file,
        first.name if first.number > 1 else "",
        tuple(_flaws(file, chain, names, links, distrust, now)),
        distrust,
        is_chained=len(chain) > 1,
    )


def distrusted(file: Path, why: str) -> Flaw:
    """Return the flaw of a certificate that Help Scout does not accept."""
    return Flaw(f"{file}: {why}, so {NOT_ACCEPTED}; get one from a public authority", False)


def _check_key(file: Path, leaf: x509.Certificate) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _RSA_BITS:
            raise CertificateError(
                f"{file}: its RSA key has {key.key_size} bits, fewer than clients accept; issue it with {_RSA_BITS}"
                " or more, or on P-256"
            )
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise CertificateError(f"{file}: its key is on {key.curve.name}, which few clients know; issue it on P-256")
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise CertificateError(f"{file}: its kind of key is not used in TLS; issue it with RSA or on P-256")


def _check_order(file: Path, chain: Sequence[x509.Certificate]) -> None:
    """Each certificate must be issued by the next (RFC 5246, 7.4.2): not every client sorts them."""
    for number, (one, issuer) in enumerate(pairwise(chain), 1):
        if one.issuer != issuer.subject:
            raise CertificateError(
                f"{file}: certificate {number + 1} did not issue certificate {number}; put the server's own first,"
                " then the one that issued it, and so on"
            )


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    names = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    return (*names, *map(str, alternatives.get_values_for_type(x509.IPAddress)))


def _needed(chain: Sequence[x509.Certificate], verdict: Verdict) -> list[_Link]:
    """Return the certificates that a client needs: all, or those on its way to an authority that it knows.

    A way that leads through an intermediate of this machine's own store says nothing of other clients.
    """
    links = [
        _Link(number, _common_name(one), Validity(one.not_valid_before_utc, one.not_valid_after_utc))
        for number, one in enumerate(chain, 1)
    ]
    if verdict.path is None:
        return links
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding  # 3 ms more, that only a chain needs

    encoded = [one.public_bytes(Encoding.DER) for one in chain]
    others = map(x509.load_der_x509_certificate, verdict.path.difference(encoded))
    if not all(one.issuer == one.subject for one in others):
        return links
    return [link for link, der in zip(links, encoded, strict=True) if der in verdict.path or link.number == 1]


def _common_name(one: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    found = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(found[0].value) if found else one.subject.rfc4514_string()
    return "".join(each for each in name if each.isprintable())


def _flaws(
    file: Path,
    chain: Sequence[x509.Certificate],
    names: Sequence[str],
    links: Sequence[_Link],
    distrust: str,
    now: datetime,
) -> Iterator[Flaw]:
    leaf = chain[0]
    for link in links:
        yield from _flaws_of_dates(file, link, now)
    if not names:
        yield Flaw(f"{file}: names no server, so no client accepts it; issue it with a subjectAltName", True)
    if distrust:
        yield distrusted(file, distrust)
    if leaf.issuer != leaf.subject and len(chain) == 1:
        yield Flaw(f"{file}: the certificate that issued it is not in the file; use the full chain", False)


def _flaws_of_dates(file: Path, link: _Link, now: datetime) -> Iterator[Flaw]:
    validity, whose, todo = link.validity, "", "renew it"
    if link.number > 1:
        whose = f"certificate {link.number} of the chain ({link.name}) "
        todo = "use the chain that the authority issues today"
    if now > validity.ends:
        yield Flaw(f"{file}: {whose}expired on {validity.ends:%Y-%m-%d}; {todo}", True)
    elif validity.is_near_end(now):
        yield Flaw(f"{file}: {whose}ends in {time_left(validity.ends - now)}; {todo}", False)
    if now < validity.begins:
        yield Flaw(
            f"{file}: {whose}is not valid before {validity.begins:%Y-%m-%d %H:%M} UTC; is the clock right?", True
        )


def time_left(left: timedelta) -> str:
    """Return a short time as text: in days, or in hours where there are few."""
    return f"{left / _DAY:.1f} days" if left >= _DAY else f"{left / _HOUR:.1f} hours"
