"""Protocols whose requests have no body, and a query that is signed as Help Scout's current platform signs."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple
from urllib.parse import quote

from appliance.outcomes import Advice, Outcome, Reply, refusal
from appliance.sidebar.inquiry import Inquiry
from appliance.sidebar.protocols.base import (
    Conversation,
    Diagnosis,
    HelpDesk,
    RequestRefused,
    SampleRequest,
    SignedRequest,
)
from appliance.sidebar.protocols.query_diagnosis import QueryDiagnoser
from appliance.sidebar.protocols.query_signature import PARAMETER, parse_query, php_json, signed_parameters
from appliance.sidebar.protocols.signature import Secret, Verifier

Network = IPv4Network | IPv6Network

OTHER_NETWORK: Final[Reply] = refusal(Outcome.OTHER_NETWORK, 403, "This page is not served to your network.")
NOT_FRAMED: Final[Reply] = refusal(Outcome.NOT_FRAMED, 403, "This page opens in Help Scout's sidebar only.")


IN_A_FRAME: Final = (
    ("Sec-Fetch-Dest", "iframe"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "cross-site"),
    ("Referer", "https://secure.helpscout.net/"),
)
"""What a browser sends with a visit, as far as sidebard might look at it."""


class Visit(NamedTuple):
    """A request by a browser: the raw query, and from where and into what it is loaded."""

    body: bytes
    peer: str = ""
    destination: str | None = None
    """The value of Sec-Fetch-Dest (W3C Fetch Metadata), None if it was not sent."""

    signature: bytes | None = None
    encoding: str = ""


class QuerySigned(HelpDesk):
    """Authenticates by the query's signature."""

    methods = ("GET", "HEAD")
    header = ""

    def __init__(
        self,
        secrets: Sequence[bytes],
        *,
        own_parameters: Collection[str] = (),
        networks: Collection[Network] = (),
        inboxes: Collection[int] = (),
        vary: Sequence[str] = (),
        others: Mapping[str, Sequence[bytes]] | None = None,
    ) -> None:
        """Take the `secrets`, the names of an app's `vary`, and what `[app.page]` says.

        `others` are other secrets by what they are for, to tell whose secret a wrong signature was made with.
        """
        self._secrets = tuple(map(Secret, secrets))
        self._verifier = Verifier(self._secrets)
        self._own = frozenset(own_parameters)
        self._networks = tuple(networks)
        self._inboxes = frozenset(inboxes)
        self._varied = tuple(vary)
        self._diagnoser = QueryDiagnoser(secrets, others or {}, own_parameters)

    def authenticate(self, request: SignedRequest) -> dict[str, str] | None:
        """Return the signed parameters. Raises RequestRefused for a visit from elsewhere, or outside a frame.

        Anybody can write Sec-Fetch-Dest; a browser that follows a pasted link tells the truth.
        """
        if isinstance(request, Visit):
            if self._networks and not self._is_near(request.peer):
                raise RequestRefused(OTHER_NETWORK)
            if request.destination not in (None, "iframe"):
                raise RequestRefused(NOT_FRAMED)
        try:
            query = request.body.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return signed_parameters(query, self._verifier, self._own)

    def _is_near(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:  # a Unix socket's peer has none
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # how an IPv4 client of a socket for both is seen
        return any((mapped or address) in network for network in self._networks)

    def diagnose(self, request: SignedRequest) -> Diagnosis:
        """Return which of the known mistakes makes the signature wrong."""
        return self.explain(request)[0]

    def explain(self, request: SignedRequest) -> tuple[Diagnosis, Advice]:
        """Return the same with what to say of it."""
        return self._diagnoser.explain(request.body)

    def sign(self, body: bytes, secret: int = 0) -> str:
        """Return the value of the signature's parameter for a query without it.

        Raises BadQuery, a ValueError, for a query that cannot be signed.
        """
        parameters = parse_query(body.decode("utf-8"))
        signed = {name: value for name, value in parameters.items() if name not in self._own and name != PARAMETER}
        return self._secrets[secret].sign(php_json(signed).encode("ascii")).decode("ascii")

    @abc.abstractmethod
    def query_like(self, inquiry: Inquiry, customer: int | None) -> bytes:
        """Return the query, without its signature, of a visit that asks the same as an inquiry of another protocol.

        `customer` is the id that stands for the inquiry's addresses; None: there is no customer yet.
        """

    def request(self, conversation: Conversation, shape: int = 0) -> SampleRequest:
        """Return a visit about a conversation."""
        return SampleRequest(method="GET", query=self.signed_query(self.sample(conversation, shape)))

    def visit(self, query: str) -> Visit:
        """Return a visit with this query as it is served: from a network of the page's, into a frame."""
        peer = str(self._networks[0][0]) if self._networks else ""
        return Visit(query.encode("utf-8", "replace"), peer, "iframe")

    def signed_query(self, body: bytes, secret: int = 0) -> str:
        """Return this query with its signature behind it."""
        query = body.decode("utf-8")
        return f"{query}{'&' if query else ''}{PARAMETER}={quote(self.sign(body, secret), safe='')}"
