"""The metrics in Prometheus' text format, made anew from the shared counters whenever they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from appliance.observe.health import Health, Situation
from appliance.observe.metrics import BUCKETS, Totals

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BOUNDS = (*map(str, BUCKETS), "+Inf")


class _Collector(Collector):
    def __init__(self, totals: Totals, health: Health, situation: Situation) -> None:
        self._totals = totals
        self._health = health
        self._situation = situation

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        yield from self._of_requests()
        totals, health, situation = self._totals, self._health, self._situation
        for name, words, value in (
            ("connections_opened", "Connections accepted.", totals.opened),
            ("handshake_failures", "TLS handshakes that failed.", totals.handshakes_failed),
            ("connections_rejected", "Connections closed as soon as they were accepted.", totals.rejected),
            (
                "connections_dropped",
                "Connections closed to make room, for being too slow, or for empty TLS records.",
                totals.dropped,
            ),
            ("log_lines_dropped", "Log lines lost because nobody read them.", totals.lines_dropped),
            ("trail_lines_lost", "Lines of the access trail that were lost.", totals.trail_lost),
            ("worker_restarts", "Workers started in the place of one that died.", situation.worker_restarts),
            ("steward_restarts", "Stewards started in the place of one that died.", situation.steward_restarts),
        ):
            yield CounterMetricFamily(f"sidebard_{name}", words, value=value)
        data, last = health.data, health.last_import
        for name, words, number in (
            ("connections", "Connections open now.", totals.open),
            ("workers_ready", "Workers that answer.", totals.ready),
            ("healthy", "1 if /healthz has no reasons.", float(not health.reasons)),
            ("import_refused", "1 if the last import was refused.", float(bool(last and last.refused))),
            (
                "certificate_days_left",
                "Days until the certificate in use that ends first does, the chains included.",
                health.certificate_days_left,
            ),
            (
                "certificate_near_end",
                "1 if a certificate in use, or one of its chain, should have been renewed by now.",
                float(health.certificate_near_end) if health.certificate_near_end is not None else None,
            ),
            (
                "certificate_not_accepted",
                "1 if Help Scout does not accept a certificate in use, as far as can be told.",
                float(any(served.distrust for served in situation.certificates)) if situation.certificates else None,
            ),
            ("data_age_seconds", "Seconds since the customer data was read.", data.age_seconds if data else None),
            ("data_rows", "Customers in the newest snapshot.", data.rows if data else None),
            ("data_generation", "Number of the newest snapshot.", data.generation if data else None),
        ):
            if number is not None:
                yield GaugeMetricFamily(f"sidebard_{name}", words, value=number)

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("sidebard_requests", "Requests answered.", labels=("app", "outcome"))
        for (app, outcome), number in self._totals.requests.items():
            if number or app:
                requests.add_metric((app, outcome), number)
        yield requests
        words = "Seconds to answer a request that has come, by what the cache said."
        durations = HistogramMetricFamily("sidebard_request_seconds", words, labels=("cache",))
        lookups = CounterMetricFamily("sidebard_cache_lookups", "Look-ups in the cache of cards.", labels=("result",))
        for cache, histogram in self._totals.durations.items():
            buckets = list(zip(_BOUNDS, histogram.cumulative, strict=True))
            durations.add_metric((cache or "none",), buckets, histogram.seconds)
            if cache:
                lookups.add_metric((cache,), histogram.cumulative[-1])
        yield durations
        yield lookups


def expose(totals: Totals, health: Health, situation: Situation) -> bytes:
    """Give the text of /metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(totals, health, situation))
    text: Callable[[CollectorRegistry], bytes] = generate_latest
    return text(registry)
