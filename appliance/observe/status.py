"""The status page: from what is known of the service to HTML. It reads no clock and asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from tornado.template import DictLoader

from appliance.observe import chart
from appliance.observe.chart import Series, latency, short
from appliance.observe.health import DAY, NOT_ACCEPTED, Health, Situation, days_until
from appliance.observe.history import MINUTES, Span, total
from appliance.observe.metrics import Totals
from appliance.outcomes import ADVICE, Cause, Outcome

FOLDER: Final = Path(__file__).parent / "page"
_MARK_EVERY: Final = 15
_UNITS: Final = ((2 * DAY, DAY, "days"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))
_USUAL: Final = (0.0001, 0.001)
_SOON: Final = 14.0
_MOST: Final = 45.0  # seconds of a minute


class Kind(NamedTuple):
    """Outcomes that mean the same to an operator; `style` is their class."""

    name: str
    style: str
    outcomes: tuple[Outcome, ...]


KINDS: Final = (
    Kind("found", "found", (Outcome.FOUND,)),
    Kind("nobody", "nobody", (Outcome.UNKNOWN, Outcome.NO_ADDRESS, Outcome.DRAFT)),
    Kind(
        "refused",
        "refused",
        (
            Outcome.BAD_SIGNATURE,
            Outcome.BAD_PAYLOAD,
            Outcome.TOO_LARGE,
            Outcome.TOO_SLOW,
            Outcome.NOT_FOUND,
            Outcome.BAD_METHOD,
            Outcome.BAD_REQUEST,
        ),
    ),
    Kind("trouble", "trouble", (Outcome.NOT_LOADED, Outcome.OVERLOADED, Outcome.CARD_FAULT)),
)
_PERCENTILES: Final = (("p50", "typical", 0.5), ("p99", "slowest", 0.99))


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows. `minutes` is the last hour, `recent` the last minute."""

    now: float
    health: Health
    situation: Situation
    totals: Totals
    minutes: Sequence[Span]
    recent: Span


class Tile(NamedTuple):
    """A figure to see at a glance."""

    name: str
    value: str
    more: str


class Graph(NamedTuple):
    """A chart, with what its colours mean: names and classes."""

    title: str
    svg: str
    legend: Sequence[tuple[str, str]] = ()


class Facts(NamedTuple):
    """A table; the first cell of a row is its name."""

    title: str
    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()


def render(status: Status) -> bytes:
    """Give the page. Every text in it is escaped, whoever chose it."""
    return _loader.load("status.html").generate(
        health=status.health,
        time=_time(status.now),
        tiles=list(_tiles(status)),
        graphs=list(_graphs(status)),
        tables=[facts for facts in _tables(status) if facts.rows],
    )


# Read now, while it is there: the folder of an unpacked executable may be emptied under a running service.
_loader: Final = DictLoader({"status.html": (FOLDER / "status.html").read_text(encoding="utf-8")})


# The figures


def _tiles(status: Status) -> Iterator[Tile]:
    hour, recent, health = total(status.minutes), status.recent, status.health
    rate = recent.requests / recent.seconds * 60 if recent.seconds else 0.0
    yield Tile("Requests a minute", short(rate), f"{hour.requests:,} in the last hour")
    yield Tile("Time to answer", _maybe(hour.percentile(0.5), latency), f"p99 {_maybe(hour.percentile(0.99), latency)}")
    yield Tile("From the cache", _maybe(hour.hit_share, _share), f"{hour.hits:,} of {hour.hits + hour.misses:,}")
    data = health.data
    yield Tile(
        "Age of the data",
        _maybe(data.age_seconds if data else None, _duration),
        f"{data.rows if data else 0:,} customers",
    )
    yield _certificate(status)
    workers = health.workers
    yield Tile("Workers", f"{workers.ready} of {workers.wanted}", f"{status.totals.open:,} connections")


def _certificate(status: Status) -> Tile:
    days = status.health.certificate_days_left
    if any(served.distrust for served in status.situation.certificates):
        return Tile("Certificate", "not accepted", "by Help Scout")
    return Tile("Certificate", _maybe(days, _days), "left" if days is not None else "none: TLS is off")


# The charts


def _graphs(status: Status) -> Iterator[Graph]:
    minutes = status.minutes
    first = int(status.now // 60) - MINUTES + 1
    clock = [_moment((first + index) * 60) for index in range(MINUTES)]
    times = [f"{time:%H:%M}" if time.minute % _MARK_EVERY == 0 else "" for time in clock]
    rates = [Series(kind.name, kind.style, _rates(minutes, kind)) for kind in KINDS]
    top = max(sum(series.values[index] or 0.0 for series in rates) for index in range(MINUTES))
    titles = [_title(time, span) for time, span in zip(clock, minutes, strict=True)]
    yield Graph(
        "Requests a minute",
        chart.bars(rates, chart.from_zero(max(top, 1), short), times, f"at most {short(top)} a minute", titles),
        [(kind.name, kind.style) for kind in KINDS],
    )
    speeds = [Series(name, style, [span.percentile(share) for span in minutes]) for name, style, share in _PERCENTILES]
    known = [value for series in speeds for value in series.values if value]
    words = f"at most {latency(max(known))}" if known else "nobody has asked"
    yield Graph(
        "Time to answer",
        chart.lines(speeds, chart.by_tens(known or _USUAL, latency), times, words),
        [(name, style) for name, style, _ in _PERCENTILES],
    )
    hits = Series("from the cache", "found", [span.hit_share for span in minutes])
    yield Graph(
        "Answers from the cache",
        chart.lines([hits], chart.from_zero(1, _share), times, f"{_maybe(total(minutes).hit_share, _share)} in all"),
    )


def _rates(minutes: Sequence[Span], kind: Kind) -> list[float | None]:
    """Return the requests of each minute.

    Looks drift a little, so a minute of which nearly all was seen is scaled to 60 seconds. The running minute is not,
    nor is the one that the service started in: the bar shows what came, as its title says.
    """
    counts = [span.count(kind.outcomes) if span.seconds else None for span in minutes]
    return [
        count * 60 / span.seconds if count and span.seconds >= _MOST and span is not minutes[-1] else count
        for count, span in zip(counts, minutes, strict=True)
    ]


def _title(time: datetime, span: Span) -> str:
    counts = [f"{span.count(kind.outcomes):,} {kind.name}" for kind in KINDS if span.count(kind.outcomes)]
    return f"{time:%H:%M}: {', '.join(counts) or 'no requests'}"


# The tables


def _tables(status: Status) -> Iterator[Facts]:
    yield _outcomes(status)
    yield _refusals(status.health)
    yield from _data(status)
    situation, totals, health = status.situation, status.totals, status.health
    certificates = [
        (
            (", ".join(served.names) or "no name") + (f" and {served.more} more" if served.more else ""),
            f"{_moment(served.ends):%Y-%m-%d}",
            f"{served.distrust}; {NOT_ACCEPTED}" if served.distrust else _days(days_until(served.ends, status.now)),
        )
        for served in situation.certificates
    ]
    yield Facts("Certificates", certificates, ("for", "expires", "left"))
    generations = ", ".join(str(number) for number in health.workers.generations)
    yield Facts(
        "Processes",
        [
            ("workers that answer", f"{health.workers.ready} of {health.workers.wanted}"),
            ("workers started again", f"{health.workers.restarts:,}"),
            ("stewards started again", f"{situation.steward_restarts:,}"),
            ("answer from snapshot", generations or "none"),
            ("connections open", f"{totals.open:,}"),
            ("connections accepted", f"{totals.opened:,}"),
            ("handshakes failed", f"{totals.handshakes_failed:,}"),
            ("connections turned away", f"{totals.rejected:,}"),
            ("connections dropped", f"{totals.dropped:,}"),
            ("log lines lost", f"{totals.lines_dropped:,}"),
            ("access trail lines lost", f"{totals.trail_lost:,}"),
            ("version", health.version),
        ],
    )


def _outcomes(status: Status) -> Facts:
    hour = total(status.minutes)
    since = dict.fromkeys(Outcome, 0)
    for (_, outcome), number in status.totals.requests.items():
        since[outcome] += number
    rows = [
        (outcome.replace("_", " "), f"{hour.count([outcome]):,}", f"{number:,}")
        for outcome, number in sorted(since.items(), key=lambda item: -item[1])
        if number
    ]
    return Facts("Outcomes", rows, ("outcome", "last hour", "since the start"))


def _refusals(health: Health) -> Facts:
    rows = [
        (f"{app}: {_advice(Cause(cause))}", f"{found.count:,}", f"{_moment(found.last):%m-%d %H:%M}")
        for app, causes in health.refusals.items()
        for cause, found in sorted(causes.items(), key=lambda item: -item[1].last)
    ]
    return Facts("Wrong signatures", rows, ("likely cause", "looked at", "last"))


def _advice(cause: Cause) -> str:
    why, todo = ADVICE[cause]
    return f"{why}; {todo}"


def _data(status: Status) -> Iterator[Facts]:
    data, last = status.health.data, status.health.last_import
    if data is not None:
        yield Facts(
            "Customers",
            [
                ("read", _time(data.as_of)),
                ("customers", f"{data.rows:,}"),
                ("addresses", f"{data.addresses:,}"),
                ("snapshot", f"{data.generation}"),
            ],
        )
    if last is None:
        return
    rows = [("ended", _time(last.at)), ("outcome", f"refused: {last.refused}" if last.refused else "taken over")]
    if not last.refused:
        rows += [
            ("took", f"{last.seconds:.1f} seconds"),
            ("customers", f"{last.rows:,}"),
            ("without address", f"{last.without_address:,}"),
            ("shared addresses", f"{last.shared_addresses:,}"),
            ("bad rows", f"{last.bad_rows:,}"),
        ]
    yield Facts("Last import", rows + [("bad row", bad) for bad in last.bad])


# Words for numbers


def _maybe(value: float | None, words: Callable[[float], str]) -> str:
    return "–" if value is None else words(value)


def _share(value: float) -> str:
    return f"{value:.0%}"


def _days(days: float) -> str:
    return f"{days:,.0f} days" if days >= _SOON else f"{days:.1f} days"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time(seconds: float) -> str:
    return f"{_moment(seconds):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{seconds / size:,.0f} {unit}"
