"""What can go wrong with an authority: its own words, and one sentence of ours for each kind.

The table is what docs/certificates.md shows.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from appliance.errors import SidebardError

MAX_DETAIL: Final = 300
_KIND: Final = re.compile("urn:ietf:params:acme:error:([A-Za-z0-9]{1,64})")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]+")


class Kind(NamedTuple):
    """What a kind of problem means."""

    todo: str
    only_operator: bool = False
    """Whether trying again soon is of no use."""


KINDS: Final[dict[str, Kind]] = {
    "caa": Kind(
        "a CAA record of the name, or of a domain above it, does not allow this authority; add one that does", True
    ),
    "connection": Kind("the authority could not connect; open port 443 (or 80) to the internet, for IPv6 too"),
    "dns": Kind("the authority found no usable address; correct the A and AAAA records of the name"),
    "unauthorized": Kind(
        "something else answered; point the name at this service, without a proxy in front that terminates TLS"
    ),
    "incorrectResponse": Kind("something else answered; point the name at this service"),
    "tls": Kind("what answered does not speak TLS; point the name at this service"),
    "rateLimited": Kind("nothing to do; it will be tried again when the authority allows it"),
    "rejectedIdentifier": Kind(
        "the authority issues no certificate for this name; use another name or authority", True
    ),
    "unsupportedIdentifier": Kind(
        "the authority does not support names of this kind; use another name or authority", True
    ),
    "externalAccountRequired": Kind(
        "get a key id and key from the authority's account page, and put them where acme.eab says", True
    ),
    "userActionRequired": Kind("do what the authority says, such as accepting its new terms", True),
    "invalidContact": Kind("correct acme.email", True),
    "unsupportedContact": Kind("correct acme.email", True),
    "invalidProfile": Kind("correct or remove acme.profile", True),
    "accountDoesNotExist": Kind("nothing to do; the account will be registered again"),
    "serverInternal": Kind("nothing to do; it will be tried again"),
    # Of our own:
    "network": Kind("check DNS and the firewall: this service must be able to connect to it"),
    "trust": Kind("install ca-certificates, or set acme.ca to the authority's root certificate; and check the clock"),
    "no_address": Kind("add an A or AAAA record that points to this machine"),
    "protocol": Kind("set acme.directory to the URL of an ACME directory"),
    "challenge": Kind(
        "the authority offers none of acme.challenges that is possible here; see docs/certificates.md", True
    ),
    "too_many": Kind("nothing to do; more than two a day would use up the authority's weekly limit"),
    "account": Kind("restore it from a backup, or remove it to create a new account", True),
    "timeout": Kind("nothing to do; it will be tried again"),
    "state": Kind("free some space, or correct the owner of the state folder"),
    "stopped": Kind("nothing to do; it will be tried again"),
}
_OTHER: Final = Kind("see the authority's documentation")


class AcmeError(SidebardError):
    """An attempt has failed. The text is what the authority says, and what to do."""

    def __init__(self, kind: str, detail: str, *, status: int = 0, retry_after: float = 0.0) -> None:
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.detail = cut(detail)
        super().__init__(f"{self.detail}; {known(kind).todo}" if self.detail else known(kind).todo)

    @property
    def only_operator(self) -> bool:
        """Whether only the operator can mend it."""
        return known(self.kind).only_operator


def known(kind: str) -> Kind:
    """Return what is known of a kind of problem."""
    return KINDS.get(kind, _OTHER)


def cut(text: str) -> str:
    """Return text of an authority as it may be logged: one line of at most MAX_DETAIL characters."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split()).rstrip(".;")
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 3] + "..."


def problem_of(document: object, status: int, retry_after: float) -> AcmeError:
    """Return the error that a problem document (RFC 9457; RFC 8555, 6.7) describes; of several, the first one."""
    if not isinstance(document, dict):
        return AcmeError(
            "serverInternal" if status >= 500 else "protocol", f"HTTP {status}", status=status, retry_after=retry_after
        )
    subproblems = document.get("subproblems")
    inner = subproblems[0] if isinstance(subproblems, list) and subproblems else None
    kind = _kind_of(document)
    detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
    if kind in ("compound", "") and isinstance(inner, dict):
        kind, detail = _kind_of(inner), str(inner.get("detail") or detail)
    if not kind:
        kind = "rateLimited" if status == 429 else "serverInternal" if status >= 500 else "protocol"
    return AcmeError(kind, detail, status=status, retry_after=retry_after)


def _kind_of(document: dict[str, object]) -> str:
    kind = document.get("type")
    found = _KIND.fullmatch(kind) if isinstance(kind, str) else None
    return found[1] if found else ""
