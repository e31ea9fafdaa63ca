"""Why a service is not healthy."""

from __future__ import annotations

import pytest

from appliance.observe.health import ApiInfo, CertificateInfo, IdsInfo, Import, RenewalInfo, SupervisorStatus, Workers
from tests.observe.examined import health

REASONS = {
    "nothing": ({}, []),
    "no data": ({"data": None}, ["there is no customer data yet"]),
    "old data": ({"max_age": 59.0}, ["the customer data is older than customers.max_age"]),
    "not old yet": ({"max_age": 60.0}, []),
    "a good import": ({"last_import": Import(at=1.0, rows=3)}, []),
    "a refused one": (
        {"last_import": Import(at=1.0, refused="half is gone")},
        ["the last import was refused: half is gone"],
    ),
    "an ended certificate": (
        {"supervisor": SupervisorStatus(certificates=(CertificateInfo((), 0, 1000.0),))},
        ["the certificate has expired"],
    ),
    "an ended issuer": (
        {"supervisor": SupervisorStatus(certificates=(CertificateInfo(("a.example",), 0, 1000.0, "", 900.0, "E7"),))},
        ["in the chain of the certificate for a.example, that of E7 has expired"],
    ),
    "two ended certificates": (
        {"supervisor": SupervisorStatus(certificates=(CertificateInfo((), 0, 900.0), CertificateInfo((), 0, 1000.0)))},
        ["the certificate has expired"],
    ),
    "a bad certificate": (
        {"supervisor": SupervisorStatus(certificate_fault="they do not match")},
        ["the new certificate is not used: they do not match"],
    ),
    "a bad config": (
        {"supervisor": SupervisorStatus(reload_fault="line 3 is wrong")},
        ["the new config is not used: line 3 is wrong"],
    ),
    "too few": (
        {"workers": Workers(wanted=2, ready=1, restarts=3, generations=(1,))},
        ["1 of 2 workers are ready"],
    ),
}


NAME = "a.example"
MISSING = "there is no certificate for a.example yet"
PLACEHOLDER = CertificateInfo((NAME,), 0, 9e9, "self-signed by sidebard", is_placeholder=True)


@pytest.mark.parametrize(
    ("days_left", "problem", "reasons", "warnings"),
    [
        (None, "", [f"{MISSING}: the authority has been asked for it, or is about to be"], []),
        (None, "no such name; add one", [f"{MISSING}: no such name; add one"], []),
        (30.0, "", [], []),
        (30.0, "it is down", [], ["the certificate for a.example could not be renewed: it is down"]),
    ],
)  # fmt: skip
def test_a_certificate_that_comes_by_itself(
    days_left: float | None, problem: str, reasons: list[str], warnings: list[str]
) -> None:
    """What is served meanwhile is self-signed, and that is not said as well."""
    renewal = RenewalInfo(name=NAME, days_left=days_left, next_attempt=2000.0, problem=problem)
    supervisor = SupervisorStatus(workers=2, certificates=(PLACEHOLDER,))
    examined = health(acme=[renewal], supervisor=supervisor)
    assert (examined.reasons, examined.warnings, examined.acme) == (reasons, warnings, (renewal,))


def test_a_private_authority_is_not_accepted() -> None:
    renewal = RenewalInfo(name=NAME, days_left=30.0, next_attempt=2000.0)
    private = CertificateInfo((NAME,), 0, 9e9, "from an authority that this machine does not know")
    examined = health(acme=[renewal], supervisor=SupervisorStatus(workers=2, certificates=(private,)))
    assert examined.warnings == [
        "the certificate for a.example is from an authority that this machine does not know, so Help Scout does not"
        " accept it; name a public authority in acme.directory"
    ]


def test_an_inbox_api_that_fails_is_a_warning() -> None:
    api = ApiInfo(fault="it refuses the id; enter another", limit=200)
    examined = health(ids=IdsInfo(known=1, api=api))
    assert (examined.status, examined.reasons, examined.warnings) == ("ok", [], [api.fault])
    assert health(ids=IdsInfo(known=1, api=ApiInfo(limit=200))).warnings == []


@pytest.mark.parametrize(("facts", "reasons"), REASONS.values(), ids=REASONS)
def test_every_reason_is_a_sentence(facts: dict[str, object], reasons: list[str]) -> None:
    examined = health(**facts)
    assert examined.reasons == reasons
    assert examined.status == ("degraded" if reasons else "ok")
