"""Protocols whose body is signed as Help Scout signs: base64(HMAC-SHA1(secret, raw body)) in a request header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.outcomes import Advice
from appliance.sidebar.protocols.base import Diagnosis, HelpDesk, SignedRequest
from appliance.sidebar.protocols.diagnosis import Diagnoser
from appliance.sidebar.protocols.signature import Secret, Verifier


class BodySigned(HelpDesk):
    """Authenticates by the body's signature."""

    def __init__(
        self,
        secrets: Sequence[bytes],
        *,
        header: str = "",
        vary: Sequence[str] = (),
        others: Mapping[str, Sequence[bytes]] | None = None,
    ) -> None:
        """Take an app's `secrets`, and the names of its `vary`.

        `header` is another header than the protocol's own; `others` are the secrets of each other app by its name, to
        tell whose secret a wrong signature was made with.
        """
        self.header = header or self.header
        self._secrets = tuple(map(Secret, secrets))
        self._verify = Verifier(self._secrets).verify
        self._diagnoser = Diagnoser(secrets, others or {})
        self._varied = tuple(name.split(".") for name in vary)

    def authenticate(self, request: SignedRequest) -> bool:
        """Return whether the signature is the body's."""
        return self._verify(request.body, request.signature)

    def sign(self, body: bytes, secret: int = 0) -> str:
        """Return the header's value for this body."""
        return self._secrets[secret].sign(body).decode("ascii")

    def diagnose(self, request: SignedRequest) -> Diagnosis:
        """Return which of the known mistakes makes the signature wrong."""
        return self.explain(request)[0]

    def explain(self, request: SignedRequest) -> tuple[Diagnosis, Advice]:
        """Return the same with what is odd about a secret, or how the body is compressed."""
        return self._diagnoser.explain(request.body, request.signature, request.encoding)
