"""What every protocol of a help desk is: the seam between a request's bytes and the core.

A protocol knows how a request is authenticated, what it asks, how an answer is written, and what such a request looks
like. Nothing else does: routes, the app, load tests, the preview and the checks ask it.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from appliance.outcomes import ADVICE, Advice, Cause, Outcome, Reply, Response, refusal
from appliance.sidebar.inquiry import Answer, Inquiry, Taught

# One answer for missing, malformed and wrong: a client learns nothing by trying.
BAD_SIGNATURE: Final[Reply] = refusal(Outcome.BAD_SIGNATURE, 403, "The signature is missing or wrong.")
BAD_PAYLOAD: Final[Reply] = refusal(Outcome.BAD_PAYLOAD, 400, "The body is not a JSON object.")


class SignedRequest(Protocol):
    """What came: the body, and the value of the signature's header, None unless it is there exactly once."""

    @property
    def body(self) -> bytes:
        """The raw body; of a request that has none, its raw query."""

    @property
    def signature(self) -> bytes | None:
        """The header's value."""

    @property
    def encoding(self) -> str:
        """The Content-Encoding, "" for none: of use to the diagnosis alone."""


class Message(NamedTuple):
    """A signed request by itself."""

    body: bytes
    signature: bytes | None
    encoding: str = ""


class Diagnosis(NamedTuple):
    """The likely cause of a wrong signature; for OTHER_APP, also whose secret it is."""

    cause: Cause
    app: str = ""


class InquiryError(ValueError):
    """An authenticated request asks nothing that can be understood."""


class RequestRefused(Exception):
    """A request is refused before its signature is looked at."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.outcome)
        self.reply: Final = reply


SAMPLE_CUSTOMERS: Final = 900_000_000_000_000_000
"""From here on ids of customers are those of samples: no help desk has ever counted so far, and none is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a sample is about. `addresses` are the customer's, the main one first."""

    number: int = 1
    addresses: tuple[str, ...] = ()
    customer: int | None = None
    """The help desk's id of the customer, for protocols that send no address; None: one that nobody has."""

    name: str = "Ann Lee"
    subject: str = "Learning the basics"
    agent: int = 1
    is_draft: bool = False


class Shape(NamedTuple):
    """A form in which requests are known to come, and how many of a hundred have it."""

    name: str
    percent: int


class SampleRequest(NamedTuple):
    """A sample as it is sent to the path of an app."""

    method: str = "POST"
    query: str = ""
    body: bytes = b""
    header: str = ""
    signature: str | None = None
    """The value of `header`; None if another part of the request is signed."""

    event: str = ""
    """The name of a webhook's event."""


class Sampled(Protocol):
    """Makes signed requests as they are known to come."""

    @property
    def shapes(self) -> Sequence[Shape]:
        """The forms of requests."""

    def request(self, conversation: Conversation, shape: int = 0) -> SampleRequest:
        """Return a request about a conversation, in the shape of this index."""


class Authenticator(Protocol):
    """Part of a protocol: knows which requests are signed with its secrets, and why another may not be."""

    def authenticate(self, request: SignedRequest) -> Any:
        """See HelpDesk."""

    def explain(self, request: SignedRequest) -> tuple[Diagnosis, Advice]:
        """See HelpDesk."""


class HelpDesk(abc.ABC):
    """One protocol, with the secrets of one app. Its `name` is what `protocol` of an `[[app]]` says.

    What `authenticate` returns is all that `parse` is given, so nothing that is not signed can decide an answer.
    """

    name: ClassVar[str]
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    """The methods of its requests: an app that speaks several protocols at one path tells them apart by these."""

    header: str
    """The request header that carries the signature; "" if another part of the request does."""

    vary: ClassVar[tuple[str, ...]] = ()
    """What `vary` of an `[[app]]` may name: `user`, `mailbox` or `ticket`, a dot, and an attribute."""

    removes_html: bool = False
    """Whether the help desk removes of a card what `cards.help_scout_html` knows."""

    shapes: ClassVar[tuple[Shape, ...]] = (Shape("the usual one", 100),)

    @abc.abstractmethod
    def authenticate(self, request: SignedRequest) -> Any:
        """Return what of the request was signed with a secret of the app, None if the signature is missing or wrong.

        Raises RequestRefused for what is refused whatever its signature is, and nothing else, whatever the bytes.
        """

    @abc.abstractmethod
    def parse(self, signed: Any) -> Inquiry:
        """Return what an authenticated request asks. Raises InquiryError, and nothing else."""

    def teaches(self, signed: Any) -> Taught | None:
        """Return what an authenticated request, one that could be parsed, says of an id; None: nothing."""
        return None

    @abc.abstractmethod
    def render(self, answer: Answer) -> Response:
        """Return the response that shows this answer. The status is 200, whatever the outcome."""

    @abc.abstractmethod
    def read_card(self, body: bytes) -> str:
        """Return the card's HTML in the body of a response, as the help desk reads it. Raises ValueError."""

    @abc.abstractmethod
    def sign(self, body: bytes, secret: int = 0) -> str:
        """Return the header's value with which a request of this body is authenticated by the secret of this index."""

    @abc.abstractmethod
    def sample(self, conversation: Conversation, shape: int = 0) -> bytes:
        """Return the body of a request about a conversation, in the shape of this index."""

    def request(self, conversation: Conversation, shape: int = 0) -> SampleRequest:
        """Return such a request, signed."""
        body = self.sample(conversation, shape)
        return SampleRequest(body=body, header=self.header, signature=self.sign(body))

    def diagnose(self, request: SignedRequest) -> Diagnosis:
        """Return why a refused request may be wrong: for the operator, never for the client."""
        return Diagnosis(Cause.UNKNOWN if request.signature else Cause.MISSING)

    def explain(self, request: SignedRequest) -> tuple[Diagnosis, Advice]:
        """Return the same with what to say of it: the cause's own advice, or a more exact one."""
        diagnosis = self.diagnose(request)
        return diagnosis, ADVICE[diagnosis.cause]

    def probes(self, address: str) -> Sequence[bytes]:
        """Return two bodies: one with all that may be changed in transit, one in which nothing can be."""
        body = self.sample(Conversation(addresses=(address,)))
        return body, body
