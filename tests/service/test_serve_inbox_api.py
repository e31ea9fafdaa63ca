"""Pages of customers whom only the Inbox API knows, by the whole service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.daemon import ROOT, Daemon, alive, children, until
from tests.factory import SECRET, visit_for, write_csv
from tests.inbox_api.help_scout import API_ID, API_SECRET, HelpScout, Server
from tests.service.test_serve_page import deliver, look, updated

PAGE = HelpScoutPage([SECRET.encode()])
PROGRAM = (sys.executable, "-W", "error", "-m", "tests.service.mocked_api")
CONFIG = '[helpscout]\napi_id = "file:api-id"\napi_secret = "file:api-secret"\n'


def visit(customer: int) -> str:
    return visit_for(PAGE, customer_id=customer).body.decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "api-id").write_text(API_ID + "\n")
    (tmp_path / "api-secret").write_text(API_SECRET + "\n")
    for name in ("api-id", "api-secret"):
        (tmp_path / name).chmod(0o600)
    with Server(tmp_path, HelpScout({7: ("ann@example.com",), 8: ()})) as running:
        yield running


def environ(server: Server) -> dict[str, str]:
    host, port, ca = server.origin
    return {"MOCKED_API": f"{host}:{port}:{ca}"}


def told_nothing_secret(daemon: Daemon, *more: str) -> None:
    said = json.dumps(daemon.lines) + "".join(more)
    for secret in (API_ID, API_SECRET, "token-", "604417723", "ann@example.com"):
        assert secret not in said


def test_a_page_finds_whom_only_the_api_knows(tmp_path: Path, server: Server) -> None:
    server.api.merged[604417723] = 7
    with Daemon(
        tmp_path, workers=2, config=CONFIG, app="[app.page]", program=PROGRAM, environ=environ(server)
    ) as daemon:
        daemon.wait_for("serving")
        assert server.api.requests == []  # nothing is asked before a page asks
        assert "<h4>Ann Lee</h4>" in look(daemon, visit(7))[1]
        assert "<h4>Ann Lee</h4>" in look(daemon, visit(604417723))[1]
        assert "No e-mail address" in look(daemon, visit(8))[1]
        for _ in range(10):
            assert "not known yet" in look(daemon, visit(9))[1]
            assert look(daemon, "customer-id=10&X-HelpScout-Signature=x")[0] == 403  # a stranger asks nothing
        assert server.api.paths == ["token", *(f"/v2/customers/{number}" for number in (7, 604417723, 7, 8, 9))]

        # A deleted one is not asked for, nor brought back.
        assert deliver(daemon, "customer.deleted", b'{"id": 8}', SECRET) == 200
        assert "not known yet" in look(daemon, visit(8))[1]
        assert len(server.api.requests) == 6

        health = daemon.health()
        ids = health["ids"]
        assert (ids["known"], ids["changes"]) == (2, {"api": 4, "webhook": 1})
        assert ids["newest_age_seconds"] < 60
        assert (ids["api"]["fault"], ids["api"]["requests"], ids["api"]["remaining"]) == ("", 6, 195)
        page = daemon.admin("/")[1]
        assert "from the Inbox API" in page
        assert "195 of 200" in page
        metrics = daemon.admin("/metrics")[1]
        assert 'sidebard_ids_changes_total{source="api"} 4.0' in metrics
        assert "sidebard_inbox_api_works 1.0" in metrics

        # The process that asks is killed, and another takes its place; then the steward, whose successor asks.
        [asking] = children(daemon.steward())
        os.kill(asking, signal.SIGKILL)
        server.api.customers[11] = ("jackie.chan@example.com",)
        assert "<h4>Jackie</h4>" in look(daemon, visit(11))[1]
        [asking] = children(daemon.steward())
        os.kill(daemon.steward(), signal.SIGKILL)
        daemon.wait_for("steward_died")
        until(lambda: not alive(asking))
        server.api.customers[12] = ("jackie.chan@somewhere.com",)
        until(lambda: "<h4>Jackie Chan</h4>" in look(daemon, visit(12))[1])
        assert daemon.stop() == 0
        daemon.rest()
        told_nothing_secret(daemon, page, metrics, json.dumps(health))


def test_an_api_that_fails(tmp_path: Path, server: Server) -> None:
    server.api.scripted.append(server.api.error(401))
    with Daemon(tmp_path, config=CONFIG, app="[app.page]", program=PROGRAM, environ=environ(server)) as daemon:
        daemon.wait_for("serving")
        assert "not known yet" in look(daemon, visit(7))[1]
        said = daemon.wait_for("inbox_api_failed")
        assert str(said["why"]).startswith("Help Scout refuses the id or the secret")
        assert int(said["retry_seconds"]) >= 3600
        assert "not known yet" in look(daemon, visit(12))[1]
        status, text, _ = daemon.admin("/healthz")
        health = json.loads(text)
        assert (status, health["warnings"][-1]) == (200, said["why"])
        assert health["ids"]["api"]["next_try"] > time.time() + 3000
        assert "refuses the id" in daemon.admin("/")[1]
        assert "sidebard_inbox_api_works 0.0" in daemon.admin("/metrics")[1]
        assert deliver(daemon, "customer.updated", updated(7, "ann@example.com"), SECRET) == 200
        assert "<h4>Ann Lee</h4>" in look(daemon, visit(7))[1]

        # A reload asks at once.
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        server.api.customers[13] = ("jackie.chan@example.com",)
        until(lambda: "<h4>Jackie</h4>" in look(daemon, visit(13))[1])  # the next steward may not listen yet
        assert daemon.stop() == 0
        daemon.rest()
        told_nothing_secret(daemon, text)


def test_all_customers_are_listed_through_the_death_of_the_steward(tmp_path: Path, server: Server) -> None:
    write_csv(tmp_path / "customers.csv")
    server.api.customers = {number: (f"a{number}@x.example",) for number in range(1, 41)}
    server.api.page_size, server.api.limit, server.api.remaining = 4, 6000, 6000
    with Daemon(
        tmp_path, config=f"{CONFIG}fill = true\n", app="[app.page]", program=PROGRAM, environ=environ(server)
    ) as daemon:
        daemon.wait_for("ids_fill_started")
        until(lambda: server.api.paths.count("/v3/customers?cursor=8"))
        os.kill(daemon.steward(), signal.SIGKILL)
        daemon.wait_for("ids_fill_resumed")
        said = daemon.wait_for("ids_filled")
        assert said["customers"] == 40
        ids = daemon.health()["ids"]
        assert (ids["known"], ids["fill"]["customers"], ids["fill"]["pages"]) == (40, 40, 10)
        assert ids["fill"]["finished"] > 0
        assert "40 customers, 10 pages" in daemon.admin("/")[1]
        assert "sidebard_ids_list_finished 1.0" in daemon.admin("/metrics")[1]
        assert daemon.stop() == 0
        daemon.rest()
        told_nothing_secret(daemon)


@pytest.mark.parametrize(
    ("scripted", "code", "word", "why"),
    [
        ([], 0, "ok", "it answers; the limit of the account is 200 requests a minute"),
        (["401"], 1, "fault", "Help Scout refuses the id or the secret of the Inbox API; enter both in"),
        ([None, "403"], 1, "fault", "does not let this account use the Inbox API (403); see whether its plan"),
        ([None, "429"], 0, "warning", "requests to the Inbox API are used up for this minute (429); it is asked again"),
        ([None, "500"], 0, "warning", "the Inbox API answers with status 500; it is asked again later"),
        ([ConnectionError()], 0, "warning", "the Inbox API cannot be reached: the connection was closed without"),
    ],
    ids=["ok", "wrong secret", "no API", "limited", "broken", "closed"],
)
def test_check(
    scripted: list[str | Exception | None], code: int, word: str, why: str, tmp_path: Path, server: Server
) -> None:
    api = server.api
    for each in scripted:
        api.scripted.append(
            each if isinstance(each, Exception) else api.error(int(each)) if each else lambda good: good
        )
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    write_csv(tmp_path / "customers.csv")
    config = tmp_path / "sidebard.toml"
    config.write_text(
        '[server]\nlisten = ["127.0.0.1:0"]\nstate = "state"\n[customers]\nsource = "customers.csv"\n'
        f'addresses = ["email"]\n[admin]\nlisten = ""\n{CONFIG}[[app]]\nsecrets = ["file:secret"]\n[app.page]\n'
    )
    config.chmod(0o600)
    done = subprocess.run(
        [*PROGRAM, "check", "--json", "--config", config],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ(server)},
        check=False,
    )
    [result] = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "inbox_api"]
    [finding] = result["findings"]
    assert (finding["status"], done.returncode) == (word, code), done.stdout + done.stderr
    assert why in finding["sentence"]
    for secret in (API_ID, API_SECRET, "token-"):
        assert secret not in done.stdout + done.stderr
