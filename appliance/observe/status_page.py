"""The status page as HTML, made from what is known of the service. It reads no clock and no counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from tornado.template import DictLoader

from appliance.observe import chart
from appliance.observe.chart import Series, latency, short
from appliance.observe.health import (
    DAY,
    NOT_ACCEPTED,
    ApiInfo,
    CertificateInfo,
    FillInfo,
    Health,
    SupervisorStatus,
    days_until,
)
from appliance.observe.history import MINUTES, Interval, total
from appliance.observe.shared_counters import Totals
from appliance.outcomes import ADVICE, Cause, Outcome

FOLDER: Final = Path(__file__).parent / "page"
_LABEL_EVERY: Final = 15  # minutes
_UNITS: Final = ((2 * DAY, DAY, "days"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))
_EMPTY_SCALE: Final = (0.0001, 0.001)  # seconds: the scale of a chart without values
_WHOLE_DAYS: Final = 14.0  # from here on, days are shown without a fraction
_MOST: Final = 45.0  # seconds: most of a minute


class OutcomeGroup(NamedTuple):
    """Outcomes that mean the same to an operator; `style` is their CSS class."""

    name: str
    style: str
    outcomes: tuple[Outcome, ...]


OUTCOME_GROUPS: Final = (
    OutcomeGroup("found", "found", (Outcome.FOUND, Outcome.COMPANY, Outcome.NOTED, Outcome.IGNORED, Outcome.OVERSIZED)),
    OutcomeGroup(
        "no customer",
        "nobody",
        (
            Outcome.UNKNOWN,
            Outcome.NO_ADDRESS,
            Outcome.DRAFT,
            Outcome.NO_CUSTOMER,
            Outcome.UNKNOWN_ID,
            Outcome.OTHER_INBOX,
        ),
    ),
    OutcomeGroup(
        "refused",
        "refused",
        (
            Outcome.BAD_SIGNATURE,
            Outcome.BAD_PAYLOAD,
            Outcome.OTHER_NETWORK,
            Outcome.NOT_FRAMED,
            Outcome.TOO_LARGE,
            Outcome.TOO_SLOW,
            Outcome.NOT_FOUND,
            Outcome.BAD_METHOD,
            Outcome.BAD_REQUEST,
        ),
    ),
    OutcomeGroup(
        "failed", "trouble", (Outcome.NOT_LOADED, Outcome.NOT_STORED, Outcome.CARD_FAULT, Outcome.INTERNAL_ERROR)
    ),
)
_PERCENTILES: Final = (("p50", "typical", 0.5), ("p99", "slowest", 0.99))


@dataclass(frozen=True, slots=True)
class PageData:
    """Everything that the page shows. `minutes` is the last hour, `recent` the last minute."""

    now: float
    health: Health
    supervisor: SupervisorStatus
    totals: Totals
    minutes: Sequence[Interval]
    recent: Interval


class Tile(NamedTuple):
    """One of the figures at the top."""

    name: str
    value: str
    more: str


class Graph(NamedTuple):
    """A chart, and its legend: names and CSS classes."""

    title: str
    svg: str
    legend: Sequence[tuple[str, str]] = ()


class TableSection(NamedTuple):
    """A table with a title; the first cell of each row is its heading."""

    title: str
    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()


def render(data: PageData) -> bytes:
    """Return the page. Every text in it is escaped, wherever it comes from."""
    return _loader.load("status.html").generate(
        health=data.health,
        time=_time(data.now),
        tiles=list(_tiles(data)),
        graphs=list(_graphs(data)),
        tables=[section for section in _sections(data) if section.rows],
    )


# Read at import: the folder that the executable unpacks itself to may be emptied while the service runs.
_loader: Final = DictLoader({"status.html": (FOLDER / "status.html").read_text(encoding="utf-8")})


# The figures


def _tiles(data: PageData) -> Iterator[Tile]:
    hour, recent, health = total(data.minutes), data.recent, data.health
    rate = recent.requests / recent.seconds * 60 if recent.seconds else 0.0
    yield Tile("Requests / min", short(rate), f"{hour.requests:,} last hour")
    yield Tile("Response time", _maybe(hour.percentile(0.5), latency), f"p99 {_maybe(hour.percentile(0.99), latency)}")
    yield Tile("Cache hits", _maybe(hour.hit_share, _share), f"{hour.hits:,} of {hour.hits + hour.misses:,}")
    snapshot = health.data
    yield Tile(
        "Age of the data",
        _maybe(snapshot.age_seconds if snapshot else None, _duration),
        f"{snapshot.rows if snapshot else 0:,} customers",
    )
    yield _certificate(data)
    workers = health.workers
    yield Tile("Workers", f"{workers.ready} of {workers.wanted}", f"{data.totals.open:,} connections")


def _certificate(data: PageData) -> Tile:
    days = data.health.certificate_days_left
    if any(certificate.distrust for certificate in data.supervisor.certificates):
        return Tile("Certificate", "not accepted", "by Help Scout")
    until = "until it expires: renew it" if data.health.certificate_near_end else "until it expires"
    return Tile("Certificate", _maybe(days, _days), until if days is not None else "none: TLS is off")


# The charts


def _graphs(data: PageData) -> Iterator[Graph]:
    minutes = data.minutes
    first = int(data.now // 60) - MINUTES + 1
    clock = [_moment((first + index) * 60) for index in range(MINUTES)]
    times = [f"{time:%H:%M}" if time.minute % _LABEL_EVERY == 0 else "" for time in clock]
    rates = [Series(group.name, group.style, _rates(minutes, group)) for group in OUTCOME_GROUPS]
    top = max(sum(series.values[index] or 0.0 for series in rates) for index in range(MINUTES))
    titles = [_title(time, interval) for time, interval in zip(clock, minutes, strict=True)]
    yield Graph(
        "Requests per minute",
        chart.bars(rates, chart.from_zero(max(top, 1), short), times, f"peak {short(top)} per minute", titles),
        [(group.name, group.style) for group in OUTCOME_GROUPS],
    )
    speeds = [
        Series(name, style, [interval.percentile(share) for interval in minutes]) for name, style, share in _PERCENTILES
    ]
    known = [value for series in speeds for value in series.values if value]
    words = f"at most {latency(max(known))}" if known else "no requests"
    yield Graph(
        "Response time",
        chart.lines(speeds, chart.by_tens(known or _EMPTY_SCALE, latency), times, words),
        [(name, style) for name, style, _ in _PERCENTILES],
    )
    hits = Series("cache hits", "found", [interval.hit_share for interval in minutes])
    yield Graph(
        "Cache hit rate",
        chart.lines([hits], chart.from_zero(1, _share), times, f"{_maybe(total(minutes).hit_share, _share)} in all"),
    )


def _rates(minutes: Sequence[Interval], group: OutcomeGroup) -> list[float | None]:
    """Return the requests of each minute.

    Readings drift a little, so a minute that was recorded almost completely is scaled to 60 seconds. The current minute
    is not, nor is the one in which the service started: their bars show what came, as their titles say.
    """
    counts = [interval.count(group.outcomes) if interval.seconds else None for interval in minutes]
    return [
        count * 60 / interval.seconds if count and interval.seconds >= _MOST and interval is not minutes[-1] else count
        for count, interval in zip(counts, minutes, strict=True)
    ]


def _title(time: datetime, interval: Interval) -> str:
    counts = [
        f"{interval.count(group.outcomes):,} {group.name}" for group in OUTCOME_GROUPS if interval.count(group.outcomes)
    ]
    return f"{time:%H:%M}: {', '.join(counts) or 'no requests'}"


# The sections


def _left(certificate: CertificateInfo, now: float) -> str:
    left = _days(days_until(certificate.ends, now)) if certificate.ends > now else "expired"
    if certificate.issuer:
        left += f" (that of {certificate.issuer} in its chain)"
    return f"{left}; renew it" if certificate.is_near_end(now) else left


def _sections(data: PageData) -> Iterator[TableSection]:
    yield _outcomes(data)
    yield _refusals(data.health)
    yield from _customers(data)
    yield from _ids(data)
    supervisor, totals, health = data.supervisor, data.totals, data.health
    certificates = [
        (
            (", ".join(certificate.names) or "no name") + (f" and {certificate.more} more" if certificate.more else ""),
            f"{_moment(certificate.ends):%Y-%m-%d}",
            f"{certificate.distrust}; {NOT_ACCEPTED}" if certificate.distrust else _left(certificate, data.now),
        )
        for certificate in supervisor.certificates
    ]
    yield TableSection("Certificates", certificates, ("for", "expires", "left"))
    generations = ", ".join(str(number) for number in health.workers.generations)
    yield TableSection(
        "Processes",
        [
            ("workers ready", f"{health.workers.ready} of {health.workers.wanted}"),
            ("worker restarts", f"{health.workers.restarts:,}"),
            ("steward restarts", f"{supervisor.steward_restarts:,}"),
            ("snapshots in use", generations or "none"),
            ("connections open", f"{totals.open:,}"),
            ("connections accepted", f"{totals.opened:,}"),
            ("handshakes failed", f"{totals.handshakes_failed:,}"),
            ("PROXY headers refused", f"{totals.headers_refused:,}"),
            ("connections rejected", f"{totals.rejected:,}"),
            ("connections dropped", f"{totals.dropped:,}"),
            ("log lines lost", f"{totals.lines_dropped:,}"),
            ("audit trail lines lost", f"{totals.trail_lost:,}"),
            ("version", health.version),
        ],
    )


def _outcomes(data: PageData) -> TableSection:
    hour = total(data.minutes)
    since = dict.fromkeys(Outcome, 0)
    for (_, outcome), number in data.totals.requests.items():
        since[outcome] += number
    rows = [
        (outcome.replace("_", " "), f"{hour.count([outcome]):,}", f"{number:,}")
        for outcome, number in sorted(since.items(), key=lambda item: -item[1])
        if number
    ]
    return TableSection("Outcomes", rows, ("outcome", "last hour", "since start"))


def _refusals(health: Health) -> TableSection:
    rows = [
        (f"{app}: {_advice(Cause(cause))}", f"{found.count:,}", f"{_moment(found.last):%m-%d %H:%M}")
        for app, causes in health.refusals.items()
        for cause, found in sorted(causes.items(), key=lambda item: -item[1].last)
    ]
    return TableSection("Wrong signatures", rows, ("likely cause", "diagnosed", "last"))


def _advice(cause: Cause) -> str:
    why, todo = ADVICE[cause]
    return f"{why}; {todo}"


_UNCHANGED: Final = ", nothing has changed"


def _customers(data: PageData) -> Iterator[TableSection]:
    snapshot, last, fetch = data.health.data, data.health.last_import, data.health.fetch
    if snapshot is not None:
        yield TableSection(
            "Customers",
            [
                ("read", _time(snapshot.as_of)),
                ("customers", f"{snapshot.rows:,}"),
                ("addresses", f"{snapshot.addresses:,}"),
                ("snapshot", f"{snapshot.generation}"),
            ],
        )
    if fetch is not None:
        took = "" if fetch.seconds is None else f", {fetch.seconds:.1f} seconds{_UNCHANGED if fetch.unchanged else ''}"
        rows = [("last that worked", _maybe(fetch.at, _time) + took)]
        rows += [("last error", fetch.error)] if fetch.error else []
        rows.append(("next", _time(fetch.next) if fetch.next else "when the password or the config has changed"))
        yield TableSection("Fetch from the database", rows)
    if last is None:
        return
    rows = [("finished", _time(last.at)), ("outcome", f"refused: {last.refused}" if last.refused else "imported")]
    if not last.refused:
        rows += [
            ("took", f"{last.seconds:.1f} seconds"),
            ("customers", f"{last.rows:,}"),
            ("without address", f"{last.without_address:,}"),
            ("shared addresses", f"{last.shared_addresses:,}"),
            ("bad rows", f"{last.bad_rows:,}"),
        ]
    yield TableSection("Last import", rows + [("bad row", bad) for bad in last.bad])


_SOURCES: Final = {
    "webhook": "from webhooks",
    "message": "from messages to the legacy app",
    "api": "from the Inbox API",
    "fill": "from the list of all customers",
    "operator": "by sidebard ids",
}
"""Who has changed what is known of ids."""


def _ids(data: PageData) -> Iterator[TableSection]:
    ids = data.health.ids
    if ids is None:
        return
    age = ids.newest_age_seconds
    rows = [("known", f"{ids.known:,}"), ("newest", "none yet" if age is None else f"{_duration(age)} ago")]
    rows += [
        (words, f"{number:,} since start") for name, words in _SOURCES.items() if (number := ids.changes.get(name))
    ]
    if ids.fault:
        rows.append(("not stored", ids.fault))
    yield TableSection("Ids of customers", rows)
    if ids.api is not None:
        yield TableSection("Inbox API", list(_api(ids.api)))
    if ids.fill is not None:
        yield TableSection("List of all customers", list(_fill(ids.fill)))


def _api(api: ApiInfo) -> Iterator[tuple[str, str]]:
    state = "answers" if api.requests else "not asked yet"
    yield "state", api.fault or state
    if api.next_try is not None:
        yield "asked again", _time(api.next_try)
    yield "requests since start", f"{api.requests:,}"
    yield "left of a minute's requests", f"{_maybe(api.remaining, short)} of {api.limit:,}"
    yield "ids that wait", f"{api.waiting:,}"


def _fill(fill: FillInfo) -> Iterator[tuple[str, str]]:
    yield "listed", f"{fill.customers:,} customers, {fill.pages:,} pages"
    for name, moment in (("begun", fill.started), ("finished", fill.finished)):
        if moment:
            yield name, _time(moment)
    if fill.why:
        yield "waits", fill.why


# Words for numbers


def _maybe(value: float | None, words: Callable[[float], str]) -> str:
    return "–" if value is None else words(value)


def _share(value: float) -> str:
    return f"{value:.0%}"


def _days(days: float) -> str:
    return f"{days:,.0f} days" if days >= _WHOLE_DAYS else f"{days:.1f} days"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time(seconds: float) -> str:
    return f"{_moment(seconds):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{seconds / size:,.0f} {unit}"
