"""What conf/monitoring asks of Prometheus exists in /metrics: every metric, every label, and every value of one."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from appliance.observe.exposition import expose
from appliance.observe.health import FetchInfo
from appliance.observe.shared_counters import SharedCounters
from appliance.outcomes import Outcome
from tests.observe.busy import IDS, SUPERVISOR, health

FOLDER = Path(__file__).parents[2] / "conf" / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
BOARD = json.loads((FOLDER / "grafana.json").read_text())
# What Prometheus adds by itself: the metric of the scrape, and where everything comes from.
OF_PROMETHEUS = {"up": {"job": set(), "instance": set()}}
OF_EVERY = {"job", "instance"}
WORDS = {"and", "unless", "by", "sum", "min", "max", "rate", "increase", "histogram_quantile"}


def exposed() -> dict[str, dict[str, set[str]]]:
    """Return every metric of a service with everything on, with its labels and their values."""
    shared = SharedCounters(["helpscout"], 1)
    shared.worker(0).counters.request("helpscout", Outcome.FOUND, "hit", 0.0002)
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    everything = msgspec.structs.replace(health(ids=IDS), fetch=FetchInfo(at=0.0, seconds=1.0))
    text = expose(shared.totals(), everything, SUPERVISOR).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found[sample.name][label].add(value)
            found[sample.name]  # also without a label
    return {**found, **OF_PROMETHEUS}


METRICS = exposed()
LABELS = {label for labels in METRICS.values() for label in labels} | OF_EVERY


EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{panel['title']}/{target['refId']}": target["expr"] for panel in BOARD["panels"] for target in panel["targets"]
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_asks_for_what_there_is(expression: str) -> None:
    assert expression.count("(") == expression.count(")")
    selectors = re.findall(r"([a-z_]+)(?:\{([^}]*)\})?", re.sub(r"\[[^]]*\]", "", expression))
    metrics = [(metric, inside) for metric, inside in selectors if metric in METRICS]
    assert metrics
    for metric, inside in metrics:
        for label, how, value in re.findall(r'(\w+)(=~|=|!=|!~)"([^"]*)"', inside):
            assert label in {*METRICS[metric], *OF_EVERY}, (metric, label)
            if label not in OF_EVERY:
                assert set(value.split("|") if "~" in how else [value]) <= METRICS[metric][label], (metric, label)
    outside = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", "", expression)
    words = set(re.findall(r"[a-z_]+", outside))
    assert words - set(METRICS) - WORDS - LABELS == set()


def test_there_is_an_alert_for_each_thing_that_goes_wrong() -> None:
    asked = " ".join(rule["expr"] for rule in RULES)
    for metric in (
        "up",
        "sidebard_healthy",
        "sidebard_requests_total",
        "sidebard_data_age_seconds",
        "sidebard_import_refused",
        "sidebard_certificate_near_end",
        "sidebard_certificate_not_accepted",
        "sidebard_inbox_api_works",
        "sidebard_worker_restarts_total",
        "sidebard_log_lines_dropped_total",
        "sidebard_trail_lines_lost_total",
    ):
        assert re.search(rf"\b{metric}\b", asked), metric


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["description"].endswith(".")
    by = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    grouped = re.findall(r"by \(([^)]*)\)", str(rule["expr"]))
    assert by <= (set(grouped[0].replace(" ", "").split(",")) if grouped else OF_EVERY)


def test_the_dashboard_shows_everything_that_is_measured() -> None:
    asked = json.dumps(BOARD)
    bases = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in METRICS} - {"up"}
    assert {name for name in bases if not re.search(rf"\b{name}(_bucket)?\b", asked)} == {"sidebard_data_generation"}


def test_the_dashboard_overlaps_nowhere() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        x, y, w, h = (panel["gridPos"][name] for name in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= 24
        assert not taken & cells
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
