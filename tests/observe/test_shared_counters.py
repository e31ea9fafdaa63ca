"""The shared counters: who may add, what is summed, and what is shown of it."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.observe.exposition import expose
from appliance.observe.health import (
    CertificateInfo,
    Health,
    Import,
    SnapshotInfo,
    SupervisorStatus,
    Workers,
    examine,
)
from appliance.observe.shared_counters import BUCKETS, CauseCount, SharedCounters
from appliance.observe.shared_value import SharedValue
from appliance.outcomes import Cause, Outcome

WORKERS = Workers(wanted=2, ready=2, restarts=0, generations=(1, 1))
DATA = SnapshotInfo(generation=3, rows=10, addresses=12, as_of=1000.0, age_seconds=60.0)


def health(**changes: object) -> Health:
    facts = {
        "now": 1060.0,
        "supervisor": SupervisorStatus(workers=2),
        "workers": WORKERS,
        "data": DATA,
        "last_import": None,
        "max_age": None,
        "refusals": {},
        **changes,
    }
    return examine(**facts)  # type: ignore[arg-type]


def test_sums_over_all_rows_also_those_of_other_processes() -> None:
    shared = SharedCounters(["one", "two"], 2)
    for place in range(shared.places):
        pid = os.fork()
        if pid == 0:
            row = shared.worker(place)
            counters = row.counters
            for _ in range(place + 1):
                counters.request("one", Outcome.FOUND, "hit", 0.0002)
                counters.connection_opened()
            counters.request("", Outcome.NOT_FOUND, "", 0.3)
            counters.connection_closed()
            counters.handshake_failed()
            counters.accept_rejected()
            counters.connection_dropped()
            counters.lines_dropped(100)
            row.status.generation = 7
            row.status.ready = place < 2
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    totals = shared.totals()
    assert totals.requests["one", Outcome.FOUND] == 1 + 2 + 3 + 4
    assert totals.requests["", Outcome.NOT_FOUND] == 4
    assert sum(totals.requests.values()) == 14
    assert (totals.opened, totals.open) == (10, 6)
    assert (totals.handshakes_failed, totals.rejected, totals.dropped, totals.lines_dropped) == (4, 4, 4, 400)
    assert (totals.ready, totals.generations) == (2, (7, 7))
    assert totals.durations["hit"].cumulative == (*(0,) * 4, *(10,) * (len(BUCKETS) - 3))
    assert totals.durations["hit"].seconds == pytest.approx(10 * 0.0002)
    assert totals.durations[""].seconds == pytest.approx(4 * 0.3)


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-1e-9, 0), (0.0, 0), (0.00001, 0), (0.000011, 1), (5.0, 17), (5.1, 18), (1e6, 18)]
)
def test_a_duration_counts_up_to_its_bound(seconds: float, bucket: int) -> None:
    shared = SharedCounters(["one"], 1)
    shared.worker(0).counters.request("one", Outcome.FOUND, "miss", seconds)
    assert shared.totals().durations["miss"].cumulative.index(1) == bucket


def test_a_row_that_changes_hands_keeps_its_counts_and_no_state() -> None:
    shared = SharedCounters(["one"], 1)
    row = shared.worker(0)
    row.counters.connection_opened()
    row.counters.trail_waiting, row.counters.trail_error = 3, 28
    row.status.ready = row.status.initial_import_done = True
    row.status.generation = 7
    row.status.beat()
    row.reset_gauges()
    totals = shared.totals()
    assert (totals.open, totals.opened, totals.ready) == (0, 1, 0)
    assert (row.status.beats, row.status.initial_import_done, row.status.generation) == (0, False, 0)
    assert (row.counters.trail_waiting, row.counters.trail_error) == (0, 0)


class CountingWords:
    """Words that count how often they are read and written."""

    def __init__(self, words: memoryview) -> None:
        self.words, self.steps = words, 0

    def __getitem__(self, word: int) -> int:
        self.steps += 1
        return self.words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self.steps += 1
        self.words[word] = value


@pytest.mark.parametrize("apps", [1, 100], ids=["one app", "a hundred apps"])
def test_counting_a_request_takes_three_additions_however_many_apps_there_are(apps: int) -> None:
    names = [f"app{number}" for number in range(apps)]
    counters = SharedCounters(names, 2).worker(1).counters
    words = CountingWords(counters._words)
    counters._words = words  # type: ignore[assignment]
    counters.request("app0", Outcome.FOUND, "hit", 0.0002)
    assert words.steps == 6


def test_refusals_by_app_and_cause() -> None:
    shared = SharedCounters(["one", "two"], 2)
    for place, app, cause, now in (
        (0, "one", Cause.HEX, 1000.9),
        (1, "one", Cause.HEX, 900.0),
        (1, "two", Cause.UNKNOWN, 950.0),
    ):
        shared.worker(place).counters.refusal(app, cause, now)
    found = shared.totals().refusals
    assert found == {("one", Cause.HEX): CauseCount(2, 1000), ("two", Cause.UNKNOWN): CauseCount(1, 950)}
    told = health(refusals=found)
    assert told.reasons == []  # anybody can send a wrong signature
    assert json.loads(msgspec.json.encode(told.refusals)) == {
        "one": {"hex": {"count": 2, "last": 1000}},
        "two": {"unknown": {"count": 1, "last": 950}},
    }


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


@pytest.mark.parametrize(("distrust", "number"), [("", 0), ("made here", 1)])
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


def test_shows_no_number_for_what_is_not_there() -> None:
    text = expose(SharedCounters([], 1).totals(), health(data=None), SupervisorStatus()).decode()
    assert "data_rows" not in text
    assert "certificate_days_left" not in text
    assert "certificate_not_accepted" not in text


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


@pytest.mark.parametrize(("facts", "reasons"), REASONS.values(), ids=REASONS)
def test_every_reason_is_a_sentence(facts: dict[str, object], reasons: list[str]) -> None:
    examined = health(**facts)
    assert examined.reasons == reasons
    assert examined.status == ("degraded" if reasons else "ok")


def test_a_value_is_read_in_another_process() -> None:
    value = SharedValue(SupervisorStatus())
    pid = os.fork()
    if pid == 0:
        value.write(SupervisorStatus(reload_fault="é" * 1000, workers=3))
        os._exit(0)
    os.waitpid(pid, 0)
    assert value.read() == SupervisorStatus(reload_fault="é" * 1000, workers=3)


def test_a_value_that_is_half_written_is_not_believed() -> None:
    value = SharedValue(SupervisorStatus(workers=3))
    value._memory[10] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        value.read()
    with pytest.raises(ValueError, match="too long"):
        value.write(SupervisorStatus(reload_fault="x" * 100_000))
