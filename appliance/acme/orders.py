"""An order: from a name to the key and chain that prove it, in steps that can be interrupted anywhere.

    on the disk              at the authority        the next step
    no order.json            -                       make the certificate's key; write order.json
    order.json without URL   no order, or one that   order; write its URL. An order whose URL was lost is never
                             nobody will finish      finalized, so it makes no certificate
    order.json with URL      pending                 for each name that is not proven yet: show the challenge, say so,
                                                     wait for the verdict, remove the challenge
                             ready                   write down that a certificate is asked for; finalize, with the
                                                     key of order.json
                             processing              wait
                             valid                   download; the chain must be for the key and the names
                             invalid, gone, expired  remove order.json: the attempt has failed
    finalize or download refused, or a wrong chain   the attempt has failed. The next one goes on with the order, once:
                                                     something in between may have been wrong. Then remove order.json
    state.json, then pair.pem, then order.json removed

Killed at any step and run again, one certificate is issued: once it was asked for, the URL and the key are on the disk,
and the next run goes on from there. The state is written before the pair, because a new pair may replace the process
that runs this. The pair is replaced at once and holds both, so that key and certificate always belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from appliance.acme import challenges
from appliance.acme.client import Client, Reply
from appliance.acme.jws import Json, SigningKey, base64url
from appliance.acme.problems import AcmeError, problem_of
from appliance.acme.renewal import CertificateFacts
from appliance.acme.storage import Storage, StoredOrder, is_token

_POLL_MOST: Final = 30.0
_POLL_FIRST: Final = 0.25
_WAIT: Final = 180.0
_MAX_AUTHORIZATIONS: Final = 20
_MAX_CHAIN: Final = 10
_MAX_REFUSALS: Final = 2
_PASSING: Final = frozenset({"badNonce", "rateLimited", "accountDoesNotExist", "orderNotReady", "userActionRequired"})
"""Problems that say nothing against the order, which may be fulfilled later."""

_REPLACES_REFUSED: Final = frozenset({"alreadyReplaced", "malformed", "unauthorized", "conflict"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is ordered."""

    name: str
    challenges: tuple[str, ...]
    """The kinds of challenge that are possible; the first is taken if the authority offers it."""
    profile: str = ""
    replaces: str = ""
    """The renewal information's name of the certificate that is renewed; "" if none."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What an order needs of the world."""

    client: Client
    storage: Storage
    clock: Callable[[], float]
    timer: Callable[[], float]
    sleep: Callable[[float], None]


class Obtained:
    """A key and its chain, as they were downloaded. Raises AcmeError if they do not belong together."""

    def __init__(self, key: SigningKey, chain: bytes, directory: str, name: str) -> None:
        try:
            certificates = x509.load_pem_x509_certificates(chain)
        except ValueError:
            raise AcmeError("protocol", "the downloaded certificate chain cannot be read") from None
        leaf = certificates[0]
        if len(certificates) > _MAX_CHAIN or _spki(leaf.public_key()) != _spki(key.private.public_key()):
            raise AcmeError("protocol", "the downloaded certificate is not for the key of the order")
        if name not in _names(leaf):
            raise AcmeError("protocol", f"the downloaded certificate is not for {name}")
        encoded = [one.public_bytes(serialization.Encoding.PEM) for one in certificates]
        self.pair: Final = key.pem + b"".join(encoded)
        self.facts: Final = facts_of(leaf, directory)


class Order:
    """The order of one name."""

    def __init__(self, wanted: Wanted, tools: Tools, count: Callable[[], None]) -> None:
        """`count` writes down that a certificate is about to be asked for; it raises AcmeError if it may not be."""
        self._wanted = wanted
        self._client, self._storage = tools.client, tools.storage
        self._tools = tools
        self._count = count

    def run(self) -> Obtained:
        """Order, or go on with an order that was begun. Raises AcmeError and OSError.

        The order stays on the disk: it is removed by the caller, once the pair is written, or here, if it has failed.
        """
        stored = self._begun()
        order = self._order_of(stored)
        if order is None:  # one that was begun, and is of no use any more
            stored = self._begin()
            order = self._order_of(stored)
        if order is None:
            raise AcmeError("protocol", "the authority does not know the order any more")
        stored = self._storage.order(self._wanted.name) or stored
        key = SigningKey.load(stored.key.encode())
        if order.get("status") == "pending":
            for url in _urls(order.get("authorizations"), "authorizations"):
                self._prove(url)
            order = self._poll(stored.url, ("pending",))
        if order.get("status") == "ready":
            if not stored.is_counted:
                self._count()
                self._storage.write_order(self._wanted.name, msgspec.structs.replace(stored, is_counted=True))
            with self._counting_refusals():
                order = self._client.post(
                    _url(order.get("finalize"), "finalize"), {"csr": _csr(key, stored.names)}
                ).document
        if order.get("status") != "valid":
            order = self._poll(stored.url, ("processing", "ready", "pending"))
        if order.get("status") != "valid":
            raise self._ended(order)
        with self._counting_refusals():
            chain = self._client.post(_url(order.get("certificate"), "certificate")).body
            return Obtained(key, chain, stored.directory, self._wanted.name)

    @contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        """Count a refusal within the block, and give the order up after too many."""
        try:
            yield
        except AcmeError as error:
            is_refusal = error.kind == "protocol" or 400 <= error.status < 500
            stored = self._storage.order(self._wanted.name)
            if is_refusal and error.kind not in _PASSING and stored is not None:
                refusals = stored.refusals + 1
                if refusals < _MAX_REFUSALS:
                    self._storage.write_order(self._wanted.name, msgspec.structs.replace(stored, refusals=refusals))
                else:
                    self._storage.remove_order(self._wanted.name)
            raise

    def _begun(self) -> StoredOrder:
        """Return the order that is on the disk if it is still wanted, or else a new one."""
        stored, wanted = self._storage.order(self._wanted.name), self._wanted
        if (
            stored is not None
            and stored.names == (wanted.name,)
            and stored.directory == self._client.url
            and stored.profile == wanted.profile
        ):
            try:
                SigningKey.load(stored.key.encode())
            except ValueError:
                pass
            else:
                return stored
        return self._begin()

    def _begin(self) -> StoredOrder:
        """Write down an order with a new key, before anything is asked."""
        key = SigningKey.generate().pem.decode()
        stored = StoredOrder(
            names=(self._wanted.name,), directory=self._client.url, key=key, profile=self._wanted.profile
        )
        self._storage.write_order(self._wanted.name, stored)
        return stored

    def _order_of(self, stored: StoredOrder) -> dict[str, Any] | None:
        """Return the authority's order; None if it does not know the stored one any more, or that has failed."""
        if not stored.url:
            reply = self._new_order()
            url = _url(reply.location, "order")
            self._storage.write_order(self._wanted.name, msgspec.structs.replace(stored, url=url))
            return reply.document
        try:
            order = self._client.post(stored.url).document
        except AcmeError as error:
            if error.status in (403, 404, 410) or error.kind in ("malformed", "unauthorized"):
                return None
            raise
        return None if order.get("status") == "invalid" else order

    def _new_order(self) -> Reply:
        payload: Json = {"identifiers": [{"type": "dns", "value": self._wanted.name}]}
        if self._wanted.profile:
            payload["profile"] = self._wanted.profile
        url = self._client.resource("newOrder")
        if not self._wanted.replaces:
            return self._client.post(url, payload)
        try:
            return self._client.post(url, {**payload, "replaces": self._wanted.replaces})
        except AcmeError as error:
            # The certificate was replaced before, or came from another account. It is renewed all the same.
            if error.kind not in _REPLACES_REFUSED and error.status != 409:
                raise
            return self._client.post(url, payload)

    # Challenges

    def _prove(self, url: str) -> None:
        """Prove one name. Raises AcmeError if the authority does not accept the proof."""
        authorization = self._client.post(url).document
        if authorization.get("status") == "valid":
            return
        offered = {
            challenge.get("type"): challenge
            for challenge in authorization.get("challenges") or ()
            if isinstance(challenge, dict)
        }
        kind = next((kind for kind in self._wanted.challenges if kind in offered), None)
        if kind is None:
            raise AcmeError("challenge", f"the authority offers {', '.join(map(str, offered)) or 'no challenge'}")
        challenge = offered[kind]
        token = challenge.get("token")
        if not isinstance(token, str) or not is_token(token):
            raise AcmeError("protocol", "the token of the challenge is invalid")
        answer = f"{token}.{self._client.key.thumbprint}"
        if kind == challenges.HTTP:
            self._storage.write_challenge(token, answer.encode())
        else:
            now = datetime.fromtimestamp(self._tools.clock(), UTC)
            shown = challenges.certificate(self._wanted.name, answer, now)
            self._storage.write_challenge(challenges.file_for(self._wanted.name), shown)
        try:
            if challenge.get("status") != "processing":
                self._client.post(_url(challenge.get("url"), "challenge"), {})
            authorization = self._poll(url, ("pending",))
        finally:
            self._storage.clear_challenges()
        if authorization.get("status") != "valid":
            failed = [each for each in authorization.get("challenges") or () if isinstance(each, dict)]
            error = next((each["error"] for each in failed if isinstance(each.get("error"), dict)), None)
            raise self._ended({"error": error})

    def _ended(self, order: dict[str, Any]) -> AcmeError:
        """Remove an order that has failed, and return why."""
        self._storage.remove_order(self._wanted.name)
        error = order.get("error")
        if error is None:
            return AcmeError("unauthorized", "the authority rejected the proof without giving a reason")
        return problem_of(error, 0, 0.0)

    def _poll(self, url: str, while_in: Sequence[str]) -> dict[str, Any]:
        """Read a document until its status is another. Raises AcmeError, also if that takes too long."""
        end, pause = self._tools.timer() + _WAIT, _POLL_FIRST
        while True:
            reply = self._client.post(url)
            document = reply.document
            if document.get("status") not in while_in:
                return document
            wait = min(reply.retry_after, _POLL_MOST) or pause
            if self._tools.timer() + wait > end:
                raise AcmeError("timeout", f"the authority did not decide within {_WAIT:.0f} seconds")
            self._tools.sleep(wait)
            pause = min(2 * pause, 5.0)


def facts_of(leaf: x509.Certificate, directory: str) -> CertificateFacts:
    """Return what a renewal needs to know of a certificate."""
    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (x509.ExtensionNotFound, ValueError):
        authority = None
    serial = leaf.serial_number
    encoded = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # as in DER: the first bit is a sign
    return CertificateFacts(
        serial=f"{serial:x}",
        begins=leaf.not_valid_before_utc.timestamp(),
        ends=leaf.not_valid_after_utc.timestamp(),
        ari_id=f"{base64url(authority)}.{base64url(encoded)}" if authority else "",  # RFC 9773, 4.1
        directory=directory,
    )


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _csr(key: SigningKey, names: Sequence[str]) -> str:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(alternatives, critical=False).sign(key.private, hashes.SHA256())
    return base64url(request.public_bytes(serialization.Encoding.DER))


def _spki(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _url(found: object, what: str) -> str:
    if not isinstance(found, str) or not found:
        raise AcmeError("protocol", f"the authority sent no URL of the {what}")
    return found


def _urls(found: object, what: str) -> list[str]:
    if not isinstance(found, list) or not 0 < len(found) <= _MAX_AUTHORIZATIONS:
        raise AcmeError("protocol", f"the order has no {what}")
    return [_url(each, what) for each in found]
