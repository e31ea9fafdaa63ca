"""Why the signature of a page's query may be wrong: as `diagnosis`, for what goes wrong when a page is set up."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from appliance.outcomes import ADVICE, Advice, Cause
from appliance.sidebar.protocols.base import Diagnosis
from appliance.sidebar.protocols.diagnosis import Candidate, first_match, read_signature, secrets_near, verdict
from appliance.sidebar.protocols.query_signature import PARAMETER, BadQuery, parse_query, php_json

KNOWN: Final = frozenset(
    {
        *("conversation-id", "conversation-number", "customer-id", "mailbox-id", "user-id"),
        *("installation-ids", "application-id", "application-slug"),
    }
)
"""The parameters that Help Scout is known to add."""

_NAMED: Final = 3
_MAX_NAME: Final = 40


class QueryDiagnoser:
    """Knows the secrets of a page and of everything else that Help Scout may have a secret for."""

    __slots__ = ("_others", "_own", "_secrets")

    def __init__(
        self, secrets: Sequence[bytes], others: Mapping[str, Sequence[bytes]], own_parameters: Collection[str]
    ) -> None:
        """`others` are other secrets by what they are for."""
        self._secrets = tuple(secrets)
        self._others = {name: tuple(theirs) for name, theirs in others.items()}
        self._own = frozenset(own_parameters)

    def __repr__(self) -> str:
        return "QueryDiagnoser(...)"

    def explain(self, query: bytes) -> tuple[Diagnosis, Advice]:
        """Return why a query may be refused, and what to say of it. Raises nothing, whatever the bytes."""
        found = self._find(query)
        return found.diagnosis, found.advice or ADVICE[found.diagnosis.cause]

    def _find(self, query: bytes) -> Candidate:
        try:
            parameters = parse_query(query.decode("utf-8"))
        except (BadQuery, UnicodeDecodeError) as error:
            why, todo = ADVICE[Cause.BAD_QUERY]
            return verdict(
                Cause.BAD_QUERY, Advice(f"{why}: {error if isinstance(error, BadQuery) else 'not UTF-8'}", todo)
            )
        signature = parameters.pop(PARAMETER, "")
        if not signature:
            return verdict(Cause.MISSING, _MISSING)
        digest, form = read_signature(signature.encode())
        if digest is None:
            return verdict(Cause.MALFORMED, _MALFORMED)
        return first_match(self._candidates(parameters, form), digest)

    def _candidates(self, parameters: Mapping[str, str], form: Cause) -> Iterator[Candidate]:
        """Return each mistake with the secret and the text that it would have signed, the likelier before."""
        signed = {name: value for name, value in parameters.items() if name not in self._own}
        text = php_json(signed).encode()
        for secret in self._secrets:
            yield Candidate(Diagnosis(form), secret, text)
            yield from _own_parameters(secret, parameters, signed)
            yield Candidate(Diagnosis(Cause.PLAIN_JSON), secret, _plain(signed))
            yield Candidate(Diagnosis(Cause.EMPTY_SIGNED_TEXT), secret, b"")
        for name, secrets in self._others.items():
            for secret in secrets:
                yield Candidate(Diagnosis(Cause.OTHER_APP, name), secret, text)
        for secret in self._secrets:
            for cause, other, advice in secrets_near(secret, named=True):
                yield Candidate(Diagnosis(cause), other, text, advice)


def _own_parameters(secret: bytes, parameters: Mapping[str, str], signed: Mapping[str, str]) -> Iterator[Candidate]:
    """Return what would be signed if the callback URL had other parameters of its own than the config says."""
    diagnosis = Diagnosis(Cause.OWN_PARAMETER)
    foreign = [name for name in signed if name not in KNOWN]
    if foreign:
        rest = {name: value for name, value in signed.items() if name in KNOWN}
        listed = ", ".join(f'"{name[:_MAX_NAME]}"' for name in foreign[:_NAMED])
        missing = Advice(
            f"the callback URL has parameters of its own that Help Scout does not sign: {listed}",
            f"add to [app.page]: own_parameters = [{listed}]",
        )
        yield Candidate(diagnosis, secret, php_json(rest).encode(), missing)
    if len(signed) < len(parameters):
        yield Candidate(diagnosis, secret, php_json(parameters).encode(), _TOO_MANY)


def _plain(signed: Mapping[str, str]) -> bytes:
    """Return the parameters as JSON.stringify writes them."""
    return json.dumps(signed, ensure_ascii=False, separators=(",", ":")).encode()


_MISSING: Final = Advice(
    f"the query has no parameter {PARAMETER}",
    "nothing needs to be done if somebody has opened the URL by hand; else let the proxy pass the query on as it is",
)
_MALFORMED: Final = Advice(
    f"the parameter {PARAMETER} is not a base64 or hex HMAC",
    "compare the URL with what Help Scout puts into its frame: it may be cut off, or have something behind it",
)
_TOO_MANY: Final = Advice(
    "own_parameters names a parameter that Help Scout has signed, so it is not one of the callback URL's own",
    "remove from own_parameters of [app.page] what the callback URL in Help Scout's form does not have",
)
