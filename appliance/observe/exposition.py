"""The metrics in Prometheus' text format, made from the shared counters at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from appliance.observe.health import Health, SupervisorStatus
from appliance.observe.shared_counters import BUCKETS, Totals

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BOUNDS = (*map(str, BUCKETS), "+Inf")


class _Collector(Collector):
    def __init__(self, totals: Totals, health: Health, supervisor: SupervisorStatus) -> None:
        self._totals = totals
        self._health = health
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield from self._of_requests()
        totals, health, supervisor = self._totals, self._health, self._supervisor
        for name, words, value in (
            ("connections_opened", "Connections accepted.", totals.opened),
            ("handshake_failures", "TLS handshakes that failed.", totals.handshakes_failed),
            (
                "proxy_headers_refused",
                "Connections from a balancer closed for their PROXY header.",
                totals.headers_refused,
            ),
            ("connections_rejected", "Connections closed as soon as they were accepted.", totals.rejected),
            (
                "connections_dropped",
                "Connections closed to make room, for being too slow, or for empty TLS records.",
                totals.dropped,
            ),
            ("log_lines_dropped", "Log lines lost because their reader was too slow.", totals.lines_dropped),
            ("trail_lines_lost", "Lines of the audit trail that were lost.", totals.trail_lost),
            ("worker_restarts", "Workers started to replace one that died.", supervisor.worker_restarts),
            ("steward_restarts", "Stewards started to replace one that died.", supervisor.steward_restarts),
        ):
            yield CounterMetricFamily(f"sidebard_{name}", words, value=value)
        yield from self._of_ids()
        data, last, fetch = health.data, health.last_import, health.fetch
        for name, words, number in (
            ("connections", "Connections open now.", totals.open),
            ("workers_ready", "Workers that are ready.", totals.ready),
            ("healthy", "1 if /healthz lists no reasons, else 0.", float(not health.reasons)),
            ("import_refused", "1 if the last import was refused, else 0.", float(bool(last and last.refused))),
            (
                "certificate_days_left",
                "Days until the first of the certificates in use, and of their chains, expires.",
                health.certificate_days_left,
            ),
            (
                "certificate_near_end",
                "1 if a certificate in use, or one of its chain, should have been renewed by now, else 0.",
                float(health.certificate_near_end) if health.certificate_near_end is not None else None,
            ),
            (
                "certificate_not_accepted",
                "1 if Help Scout does not accept a certificate in use, as far as sidebard can tell, else 0.",
                float(any(served.distrust for served in supervisor.certificates)) if supervisor.certificates else None,
            ),
            ("data_age_seconds", "Seconds since the customer data was read.", data.age_seconds if data else None),
            ("data_rows", "Customers in the newest snapshot.", data.rows if data else None),
            ("data_generation", "Number of the newest snapshot.", data.generation if data else None),
            ("import_seconds", "Seconds of the last import, without a fetch.", last.seconds if last else None),
            ("fetch_seconds", "Seconds of the last fetch from a server that worked.", fetch.seconds if fetch else None),
        ):
            if number is not None:
                yield GaugeMetricFamily(f"sidebard_{name}", words, value=number)

    def _of_ids(self) -> Iterator[Metric]:
        ids = self._health.ids
        if ids is None:
            return
        changes = CounterMetricFamily(
            "sidebard_ids_changes", "Changes of what is known of ids, by who said them.", labels=("source",)
        )
        for source, number in ids.changes.items():
            changes.add_metric((source,), number)
        yield changes
        api, fill = ids.api, ids.fill
        if api is not None:
            words = "Requests to Help Scout's Inbox API."
            yield CounterMetricFamily("sidebard_inbox_api_requests", words, value=api.requests)
        for name, words, gauge in (
            ("ids_known", "Customers' ids of which addresses are known.", ids.known),
            ("ids_newest_age_seconds", "Seconds since something of an id was stored.", ids.newest_age_seconds),
            (
                "inbox_api_works",
                "1 if the last request to Help Scout's Inbox API had an answer, else 0.",
                float(not api.fault) if api is not None else None,
            ),
            (
                "inbox_api_requests_left",
                "Requests that Help Scout's Inbox API has left this minute, by its last answer.",
                api.remaining if api is not None else None,
            ),
            ("inbox_api_waiting", "Ids that wait for Help Scout's Inbox API.", api.waiting if api else None),
            ("ids_listed", "Customers of the list of all customers so far.", fill.customers if fill else None),
            (
                "ids_list_finished",
                "1 if the list of all customers is finished, else 0.",
                float(bool(fill.finished)) if fill is not None else None,
            ),
        ):
            if gauge is not None:
                yield GaugeMetricFamily(f"sidebard_{name}", words, value=gauge)

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("sidebard_requests", "Requests answered.", labels=("app", "outcome"))
        for (app, outcome), number in self._totals.requests.items():
            if number or app:
                requests.add_metric((app, outcome), number)
        yield requests
        words = "Seconds to answer a request once it was received, by cache result."
        durations = HistogramMetricFamily("sidebard_request_seconds", words, labels=("cache",))
        lookups = CounterMetricFamily("sidebard_cache_lookups", "Look-ups in the card cache.", labels=("result",))
        for cache, histogram in self._totals.durations.items():
            buckets = list(zip(_BOUNDS, histogram.cumulative, strict=True))
            durations.add_metric((cache or "none",), buckets, histogram.seconds)
            if cache:
                lookups.add_metric((cache,), histogram.cumulative[-1])
        yield durations
        yield lookups


def expose(totals: Totals, health: Health, supervisor: SupervisorStatus) -> bytes:
    """Return the text of /metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(totals, health, supervisor))
    text: Callable[[CollectorRegistry], bytes] = generate_latest
    return text(registry)
