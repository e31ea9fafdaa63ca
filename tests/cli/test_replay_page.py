"""`sidebard requests` and `sidebard replay` with pages and webhooks, against a real service."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.edge.refusals import MAX_BODY_BYTES, MAX_WEBHOOK_BYTES
from appliance.sidebar.protocols.helpscout_webhook import SAMPLE_ADDRESS
from tests.commands import run
from tests.daemon import Daemon
from tests.factory import sign, write_csv

SECRETS = {kind: f"a {kind} secret of twenty" for kind in ("page", "webhook")}
PAGE = """[app.page]
secrets = ["file:page-secret"]
webhook_secrets = ["file:webhook-secret"]
networks = ["127.0.0.0/8"]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("service")
    rows = [(f"c{one}@example.com", f"Customer {one}", str(one)) for one in range(1, 30)]
    write_csv(folder / "customers.csv", [("email", "name", "helpscout_id"), *rows])
    for kind, secret in SECRETS.items():
        (folder / f"{kind}-secret").write_text(secret)
        (folder / f"{kind}-secret").chmod(0o600)
    config = '[helpscout]\ncolumn = "helpscout_id"\n[log]\nrequests = false'
    with Daemon(folder, app=PAGE, config=config, customers=False) as daemon:
        daemon.wait_for("serving")
        daemon.ask("c1@example.com")
        yield daemon
        assert daemon.stop() == 0
        daemon.rest()


def requests(service: Daemon, *flags: object) -> bytes:
    made = run("requests", "--config", service.config, "--count", 200, *flags)
    assert (made.returncode, made.stderr) == (0, b"")
    return bytes(made.stdout)


def replay(service: Daemon, corpus: bytes, *flags: object) -> subprocess.CompletedProcess[bytes]:
    url = f"https://localhost:{service.port}/helpscout"
    ca = service.folder / "state" / "self-signed" / "localhost.crt"
    given = ("--url", url, "--ca", ca, "--duration", "300ms", "--json", *flags)
    result: subprocess.CompletedProcess[bytes] = run("replay", "-", *given, stdin=corpus, HOME="/nonexistent")
    return result


def kinds(corpus: bytes) -> Counter[str]:
    lines = [json.loads(line) for line in corpus.splitlines()]
    return Counter("webhook" if "event" in line else line.get("method", "POST") for line in lines)


def test_half_are_visits_if_the_app_has_a_page(service: Daemon) -> None:
    counted = kinds(requests(service))
    assert set(counted) == {"POST", "GET"}
    assert 60 < counted["GET"] < 140
    assert kinds(requests(service, "--pages", "0%")) == {"POST": 200}
    assert kinds(requests(service, "--pages", "100%")) == {"GET": 200}
    assert kinds(requests(service, "--webhooks", "100%")) == {"webhook": 200}


@pytest.mark.parametrize("flags", [(), ("--close",), ("--rate", "100")], ids=["closed loop", "close", "open loop"])
def test_every_answer_is_what_this_config_gives(flags: tuple[str, ...], service: Daemon) -> None:
    corpus = requests(service, "--webhooks", "20%")
    assert set(kinds(corpus)) == {"POST", "GET", "webhook"}
    result = replay(service, corpus, "--compare", "--config", service.config, *flags)
    figures = json.loads(result.stdout)
    assert (figures["wrong"], figures["failures"], result.returncode) == ({}, {}, 0)
    assert set(figures["statuses"]) == {"200"}


def test_what_was_taught_is_forgotten_by_one_command(service: Daemon) -> None:
    replay(service, requests(service, "--webhooks", "100%"))
    held = run("ids", "--config", service.config, "--address", SAMPLE_ADDRESS)
    assert len(held.stdout.splitlines()) > 1
    assert run("ids", "--config", service.config, "--address", SAMPLE_ADDRESS, "--forget").returncode == 0
    assert run("ids", "--config", service.config, "--address", SAMPLE_ADDRESS).returncode == 1


def test_what_is_refused_is_compared_too(service: Daemon) -> None:
    page, webhook = requests(service, "--pages", "100%"), requests(service, "--webhooks", "100%")
    visit, event = json.loads(page.splitlines()[0]), json.loads(webhook.splitlines()[0])
    expected, large = {"expect": None}, "{}" + " " * MAX_BODY_BYTES
    lines = [
        {**visit, **expected, "path": visit["path"] + "x"},
        {**visit, **expected, "path": "/helpscout"},
        {**visit, **expected, "path": "/elsewhere?x=y"},
        {**event, **expected, "signature": "x"},
        {**event, **expected, "body": "[]"},
        {**event, **expected, "header": "X-Other"},
        {**event, **expected, "event": "tag.created"},
        {**event, **expected, "body": large, "signature": sign(large.encode(), SECRETS["webhook"]).decode()},
        {**event, **expected, "body": large},
        {**event, **expected, "body": " " * MAX_WEBHOOK_BYTES + "{}"},
        {**visit, **expected, "method": "POST", "path": "/helpscout", "body": large},
    ]
    corpus = "\n".join(json.dumps(line) for line in lines).encode()
    result = replay(service, corpus, "--compare", "--config", service.config, "--connections", "1")
    figures = json.loads(result.stdout)
    assert (figures["wrong"], figures["failures"], result.returncode) == ({}, {}, 0)
    assert set(figures["statuses"]) == {"200", "403", "404", "413"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--pages", "60%", "--webhooks", "50%"), "--pages and --webhooks are more than 100% together"),
        (("--pages", "0.5"), "write a percentage from 0% to 100%"),
    ],
)
def test_shares_that_cannot_be(flags: tuple[str, ...], sentence: str, service: Daemon) -> None:
    made = run("requests", "--config", service.config, *flags)
    assert (made.returncode, made.stdout) == (2, b"")
    assert sentence in made.stderr.decode()


@pytest.mark.parametrize("flag", ["--pages", "--webhooks"])
def test_an_app_without_a_page(flag: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text("a secret of twenty bytes")
    flags = ("--customers", tmp_path / "customers.csv", "--secret-file", tmp_path / "secret")
    made = run("requests", *flags, flag, "10%", HOME=str(tmp_path))
    assert made.returncode == 2
    assert f'{flag}: the app "helpscout" has no page; add [app.page]' in made.stderr.decode()
