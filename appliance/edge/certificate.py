"""Certificates: what is in a file, and whether a client could accept it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from appliance.errors import SidebardError
from appliance.observe.health import NOT_ACCEPTED
from appliance.system.account import todo_of

if TYPE_CHECKING:
    from cryptography import x509

_RSA_BITS: Final = 2048
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_DAY: Final = timedelta(days=1)
SELF_SIGNED: Final = "signed by itself"
_NEAR: Final = 14 * _DAY


class CertificateFault(SidebardError):
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

    def is_near_end(self, now: datetime) -> bool:
        """Whether it is time to renew it; one that lives for six days has never more than those."""
        return self.ends - now < min(_NEAR, (self.ends - self.begins) / 3)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that is served."""

    names: tuple[str, ...]
    validity: Validity
    file: Path
    flaws: tuple[Flaw, ...] = ()
    distrust: str = ""
    """Why Help Scout does not accept it, as far as can be told; "" if it may."""

    is_chained: bool = True
    """Whether its issuer is in the file."""

    def covers(self, name: str) -> bool:
        """Return whether it is for this name, in lower case; "*" stands for the first label alone (RFC 6125, 6.4.3)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


def read_certificate(file: Path, now: datetime) -> Certificate:
    """Give what the first certificate in `file` says, the others being its chain. Raises CertificateFault.

    One that is over or not yet good is served with a warning, for no answer at all helps nobody: but health shows it.
    """
    from cryptography import x509  # 40 ms, and only needed where certificates are read

    try:
        chain = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise CertificateFault(f"{file}: tls.certificate cannot be read: {error.strerror}; {todo_of(error)}") from None
    except ValueError:
        raise CertificateFault(f"{file} is not a PEM file with a certificate; convert it, or issue it again") from None
    leaf = chain[0]
    _check_key(file, leaf)
    _check_order(file, chain)
    names, validity = _names(leaf), Validity(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    distrust = SELF_SIGNED if leaf.issuer == leaf.subject else ""
    flaws = tuple(_flaws(file, chain, names, validity, now))
    return Certificate(names, validity, file, flaws, distrust, is_chained=len(chain) > 1)


def distrusted(file: Path, why: str) -> Flaw:
    """Return the flaw of a certificate that Help Scout does not accept."""
    return Flaw(f"{file}: {why}, so {NOT_ACCEPTED}; get one from a public authority", False)


def _check_key(file: Path, leaf: x509.Certificate) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _RSA_BITS:
            raise CertificateFault(
                f"{file}: its RSA key has {key.key_size} bits, fewer than clients accept; issue it with {_RSA_BITS}"
                " or more, or on P-256"
            )
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise CertificateFault(f"{file}: its key is on {key.curve.name}, which few clients know; issue it on P-256")
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise CertificateFault(f"{file}: its kind of key is not used in TLS; issue it with RSA or on P-256")


def _check_order(file: Path, chain: Sequence[x509.Certificate]) -> None:
    """Each certificate must be issued by the next (RFC 5246, 7.4.2): not every client sorts them."""
    for number, (one, issuer) in enumerate(pairwise(chain), 1):
        if one.issuer != issuer.subject:
            raise CertificateFault(
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


def _flaws(
    file: Path, chain: Sequence[x509.Certificate], names: Sequence[str], validity: Validity, now: datetime
) -> Iterator[Flaw]:
    leaf = chain[0]
    if now > validity.ends:
        yield Flaw(f"{file}: expired on {validity.ends:%Y-%m-%d}; renew it", True)
    elif validity.is_near_end(now):
        yield Flaw(f"{file}: ends in {validity.days_left(now):.1f} days; renew it", False)
    if now < validity.begins:
        yield Flaw(f"{file}: not valid before {validity.begins:%Y-%m-%d %H:%M} UTC; is the clock right?", True)
    if not names:
        yield Flaw(f"{file}: names no server, so no client accepts it; issue it with a subjectAltName", True)
    if leaf.issuer == leaf.subject:
        yield distrusted(file, SELF_SIGNED)
    elif len(chain) == 1:
        yield Flaw(f"{file}: the certificate that issued it is not in the file; use the full chain", False)
