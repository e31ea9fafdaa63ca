"""`sidebard replay`: load-tests a service with signed requests."""

from __future__ import annotations

import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from appliance.bootstrap.wiring import make_mounts
from appliance.cli import common
from appliance.cli.progress import progress_bar
from appliance.edge.refusals import MAX_BODY_BYTES, MESSAGE_LIMIT, WEBHOOK_LIMIT, Refusal
from appliance.edge.site import Mount
from appliance.errors import FAILURE
from appliance.http_client import Url, UrlError, parse_url
from appliance.outcomes import Reply, Response
from appliance.replay.corpus_line import CorpusError, CorpusRequest, read_lines
from appliance.replay.load_profile import LoadProfile, PreparedRequest, prepare_requests
from appliance.replay.report import as_page
from appliance.replay.result import LoadTestResult, show_ms, summarize
from appliance.replay.target import LoadTarget, ResumingContext, reach
from appliance.replay.text import as_text
from appliance.replay.timeline import Timeline, TimelinePoint
from appliance.replay.worker_pool import WorkerPool
from appliance.sidebar.protocols.base import Message
from appliance.sidebar.protocols.helpscout_webhook import NOTED, SIGNATURE
from appliance.sidebar.protocols.query_signed import QuerySigned
from appliance.system.frozen import keep_files

_FILE = click.Path(path_type=Path)
_ABOVE_ZERO = click.FloatRange(0, min_open=True)


def _url(_context: click.Context, _parameter: click.Parameter, text: str) -> Url:
    try:
        return parse_url(text)
    except UrlError as error:
        raise click.BadParameter(f"{error}.") from None


def _report(_context: click.Context, _parameter: click.Parameter, file: Path | None) -> Path | None:
    """Open the report's file before the run: afterwards it is too late to refuse one. Leave no new file behind."""
    try:
        if file is not None:
            is_new = not file.exists()
            file.open("ab").close()
            if is_new:
                file.unlink()
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    return file


@click.command("replay", short_help="Load-test a service with signed requests.")
@click.argument("file", metavar="FILE|-")
@common.config_option
@common.customers_option
@common.secret_option
@click.option("--url", required=True, callback=_url, metavar="URL", help="URL of the service.")
@click.option("--rate", type=_ABOVE_ZERO, metavar="R", help="Requests per second, sent on schedule.")
@click.option(
    "--connections",
    type=click.IntRange(1, 100_000),
    default=10,
    metavar="C",
    help="Maximum concurrent connections (default: 10).",
)
@click.option(
    "--duration",
    type=common.Duration(),
    default="10s",
    metavar="TIME",
    help="How long, such as 30s or 10m (default: 10s). A bare number is seconds.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Number of sending processes (default: one per two CPUs).",
)
@click.option("--close", is_flag=True, help="Open a new connection for each request.")
@click.option("--resume", is_flag=True, help="Like --close, and resume the previous TLS session.")
@common.ca_option
@common.insecure_option
@click.option("--compare", is_flag=True, help="Compare every response byte for byte with a local answer from --config.")
@click.option(
    "--max-p99",
    type=common.Duration("ms"),
    metavar="TIME",
    help="Fail if p99 is over this, such as 100ms. A bare number is milliseconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--report", type=_FILE, callback=_report, metavar="FILE", help="Also write the result as a web page.")
def command(
    file: str,
    config: Path | None,
    customers: Path | None,
    secret_file: Path | None,
    url: Url,
    rate: float | None,
    connections: int,
    duration: float,
    processes: int | None,
    close: bool,
    resume: bool,
    ca: Path | None,
    insecure: bool,
    compare: bool,
    max_p99: float | None,
    as_json: bool,
    report: Path | None,
) -> None:
    """Send the requests in FILE ("-": stdin), as made by sidebard requests, repeatedly for --duration.

    With --rate, each request starts on schedule and its latency counts from then, so a stall of the service is not
    hidden. Without, each of the --connections sends its next request when the last one is answered. The exit
    code is 1 if an answer is wrong or missing, p99 is over --max-p99, or nothing can be sent.
    """
    if not compare and (config or customers or secret_file):
        raise click.UsageError("--config, --customers and --secret-file require --compare")
    if resume and not url.is_secure:
        raise click.UsageError("--resume requires an https:// URL")
    keep_files()
    kind = ResumingContext if resume else ssl.SSLContext
    context = common.trust(kind(ssl.PROTOCOL_TLS_CLIENT), ca, insecure=insecure)
    profile = LoadProfile(
        duration=duration,
        connections=connections,
        processes=min(processes or max(1, (os.cpu_count() or 1) // 2), connections),
        rate=rate,
        close=close or resume,
    )
    lines = _read(file)
    answer = _answerer(config, customers, secret_file, url) if compare else None
    requests = prepare_requests(lines, url, close=profile.close, answer=answer)
    target = reach(url, context if url.is_secure else None)
    result = _run(profile, target, requests, max_p99)
    click.echo(msgspec.json.encode(result) if as_json else as_text(result))
    if report is not None:
        _write(report, as_page(result))
    sys.exit(0 if result.is_good else FAILURE)


def _read(file: str) -> tuple[CorpusRequest, ...]:
    def read(lines: BinaryIO) -> tuple[CorpusRequest, ...]:
        return read_lines("stdin" if file == "-" else file, lines)

    try:
        if file == "-":
            return read(sys.stdin.buffer)
        with open(file, "rb") as lines:
            return read(lines)
    except CorpusError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None


def _answerer(
    config: Path | None, customers: Path | None, secret_file: Path | None, url: Url
) -> Callable[[CorpusRequest], Response]:
    """Return a function that makes the response of a service with this config and these customers."""
    settings = common.find_settings(config, customers, secret_file)
    mounts = {mount.path: mount for mount in make_mounts(settings, os.environ, b"")}
    snapshot = common.open_customers(settings)
    for mount in mounts.values():
        mount.app.use(snapshot)

    def answer(request: CorpusRequest) -> Response:
        path, _, query = (request.path or url.path or "/").partition("?")
        mount = mounts.get(path)
        return (_answer(mount, request, query) if mount is not None else Refusal.NOT_FOUND.reply).response

    return answer


def _answer(mount: Mount, request: CorpusRequest, query: str) -> Reply:
    """Return the reply of a service that stores what webhooks say."""
    if request.method == "GET":
        page = next((one for one in mount.app.protocols if isinstance(one, QuerySigned)), None)
        return mount.app.answer(page.visit(query), page) if page is not None else Refusal.BAD_METHOD.reply
    webhook = mount.webhook if request.event else None
    limit, header = (WEBHOOK_LIMIT, SIGNATURE) if webhook is not None else (MESSAGE_LIMIT, mount.signature_header)
    if len(request.body) > limit.size:
        return limit.refusal.reply
    is_signed = request.signature is not None and request.header.lower() == header.lower()
    message = Message(request.body, request.signature.encode() if is_signed and request.signature else None)
    if webhook is None:
        return mount.app.answer(message)
    if len(request.body) > MAX_BODY_BYTES:
        check = webhook.begin()
        check.add(request.body)
        return webhook.read_oversized(check, message)
    said = webhook.read(request.event, message, time.time())
    return said if isinstance(said, Reply) else NOTED


def _run(
    profile: LoadProfile, target: LoadTarget, requests: tuple[PreparedRequest, ...], max_p99: float | None
) -> LoadTestResult:
    started = time.time()
    with closing(WorkerPool(profile, target, requests)) as pool, _live(profile) as show:
        pool.run(show)
    return summarize(
        target,
        profile,
        pool.timeline,
        pool.ends,
        started=started,
        max_p99=max_p99,
        interrupted=pool.interrupted,
    )


@contextmanager
def _live(profile: LoadProfile) -> Iterator[Callable[[TimelinePoint, Timeline], None]]:
    """Show a progress bar and the current figures on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda point, timeline: None
        return
    with progress_bar("replay") as bar:

        def show(point: TimelinePoint, timeline: Timeline) -> None:
            counts = timeline.counts
            now = (
                f"{point.at:.0f} of {profile.duration:g} s  {point.answers / profile.step:,.0f}/s"
                f"  p50 {show_ms(point.p50)}  p99 {show_ms(point.p99)} ms"
                f"  wrong {sum(wrong.count for wrong in counts.wrong.values()):,}"
                f"  failed {sum(counts.failures.values()):,}"
            )
            bar(point.at / profile.duration, now)

        yield show


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, "utf-8")
    except OSError as error:
        raise common.CommandError(f"{file}: {error.strerror}; the report was not written") from None
