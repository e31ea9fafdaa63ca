"""What Prometheus is told."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.observe.exposition import expose
from appliance.observe.health import CertificateInfo, SupervisorStatus
from appliance.observe.shared_counters import SharedCounters
from appliance.outcomes import Outcome
from tests.observe.examined import health


def test_shows_everything_to_prometheus() -> None:
    shared = SharedCounters(["helpscout"], 1)
    shared.worker(0).counters.request("helpscout", Outcome.FOUND, "hit", 0.0002)
    shared.worker(0).counters.request("helpscout", Outcome.BAD_SIGNATURE, "", 0.0001)
    supervisor = SupervisorStatus(workers=1, worker_restarts=4, certificates=(CertificateInfo((), 0, 1060.0 + 86400),))
    text = expose(shared.totals(), health(supervisor=supervisor), supervisor).decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["sidebard_requests_total", "helpscout", "found"] == 1
    assert found["sidebard_requests_total", "helpscout", "bad_signature"] == 1
    assert found["sidebard_cache_lookups_total", "hit"] == 1
    assert found["sidebard_cache_lookups_total", "miss"] == 0
    assert found["sidebard_request_seconds_bucket", "hit", "0.0001"] == 0
    assert found["sidebard_request_seconds_bucket", "hit", "0.00025"] == 1
    assert found["sidebard_request_seconds_bucket", "hit", "+Inf"] == 1
    assert found["sidebard_request_seconds_count", "none"] == 1
    assert found["sidebard_worker_restarts_total",] == 4
    assert found["sidebard_certificate_days_left",] == 1
    assert found["sidebard_import_refused",] == 0
    assert found["sidebard_data_age_seconds",] == 60
    assert found["sidebard_data_rows",] == 10
    for name in ("connections", "connections_opened_total", "handshake_failures_total", "connections_rejected_total"):
        assert found[f"sidebard_{name}",] == 0


@pytest.mark.parametrize(("distrust", "number"), [("", 0), ("made here", 1)], ids=["accepted", "made here"])
def test_a_certificate_that_is_not_accepted(distrust: str, number: int) -> None:
    served = (CertificateInfo((), 0, 9e9), CertificateInfo(("localhost", "::1"), 3, 9.1e9, distrust))
    supervisor = SupervisorStatus(workers=1, certificates=served)
    told = health(supervisor=supervisor)
    text = expose(SharedCounters([], 1).totals(), told, supervisor).decode()
    assert f"sidebard_certificate_not_accepted {number}.0" in text
    assert (told.status, told.reasons) == ("ok", [])  # 200: whoever watches the service is not to restart it
    assert (
        told.warnings
        == [
            "the certificate for localhost, ::1 is made here, so Help Scout does not accept it; name one from a public"
            " authority in tls.certificate and tls.key"
        ]
        * number
    )


@pytest.mark.parametrize(
    ("served", "warning"),
    [
        (CertificateInfo(("a.example",), 0, 9e9, renewal=8e9), ""),
        (CertificateInfo(("a.example",), 0, 9e9), ""),
        (
            CertificateInfo(("a.example",), 0, 1060 + 5 * 86400.0, renewal=1000.0),
            "the certificate for a.example expires in 5.0 days; renew it",
        ),
        (
            CertificateInfo(("a.example", "b.example"), 0, 1060 + 5 * 86400.0, renewal=1000.0, issuer="E7"),
            "in the chain of the certificate for a.example, b.example, that of E7 expires in 5.0 days; use the chain"
            " that the authority issues today",
        ),
    ],
    ids=["long", "not known", "near its end", "an issuer near its end"],
)
def test_a_certificate_near_its_end(served: CertificateInfo, warning: str) -> None:
    supervisor = SupervisorStatus(workers=1, certificates=(CertificateInfo((), 0, 9e9, renewal=8e9), served))
    told = health(supervisor=supervisor)
    assert (told.reasons, told.warnings) == ([], [warning] if warning else [])
    assert told.certificate_near_end is bool(warning)
    text = expose(SharedCounters([], 1).totals(), told, supervisor).decode()
    assert f"sidebard_certificate_near_end {float(bool(warning))}" in text


def test_shows_no_number_for_what_is_not_there() -> None:
    text = expose(SharedCounters([], 1).totals(), health(data=None), SupervisorStatus()).decode()
    assert "data_rows" not in text
    assert "certificate_days_left" not in text
    assert "certificate_not_accepted" not in text
    assert "certificate_near_end" not in text
