"""Wrong signatures: refused as ever, and the log and health say what is probably wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from pathlib import Path

import pytest

from appliance.observe.shared_counters import CauseCount, SharedCounters
from appliance.outcomes import ADVICE, Cause
from appliance.service.refusal_sampler import EVERY, RefusalSampler
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import BAD_SIGNATURE, Message
from tests.conftest import Logged
from tests.daemon import Daemon
from tests.factory import SECRET, Timer, body_for, make_app, sign

ANN = body_for("ann@example.com")
OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"
TWO_APPS = '[[app]]\nname = "other"\npath = "/other"\nsecrets = ["file:other"]\n'


@pytest.fixture
def app() -> SidebarApp:
    return make_app(None)


def test_looks_at_one_now_and_then_after_the_answer(app: SidebarApp, logged: Logged) -> None:
    shared, timer = SharedCounters(["helpscout"], 1), Timer(50.0)
    sample = RefusalSampler([app], shared.worker(0).counters, timer=timer, clock=lambda: 1000.0)

    async def refuse() -> None:
        for _ in range(100):
            sample("helpscout", Message(ANN, b"wrong"))
        assert shared.totals().refusals == {}  # all were answered before any is looked at
        await asyncio.sleep(0)
        assert shared.totals().refusals == {("helpscout", Cause.MALFORMED): CauseCount(1, 1000)}
        said = logged.take("wrong_signature")
        assert (said["level"], said["app"], said["cause"]) == ("warning", "helpscout", "malformed")
        assert (said["why"], said["todo"]) == ADVICE[Cause.MALFORMED]
        timer.now += EVERY - 1
        sample("helpscout", Message(ANN, None))
        await asyncio.sleep(0)
        timer.now += 1
        sample("helpscout", Message(ANN, None))
        await asyncio.sleep(0)
        assert logged.take("wrong_signature")["cause"] == "missing"

    asyncio.run(refuse())


@pytest.mark.parametrize(
    ("signature", "event"),
    [(sign(ANN), "wrong_signature"), (sign(gzip.compress(ANN, mtime=0)), "compressed_body")],
    ids=["signed before it was compressed", "signed as it came"],
)
def test_a_compressed_message(signature: bytes, event: str, app: SidebarApp, logged: Logged) -> None:
    shared = SharedCounters(["helpscout"], 1)
    sample = RefusalSampler([app], shared.worker(0).counters, timer=Timer(50.0), clock=lambda: 1000.0)

    async def refuse() -> None:
        sample("helpscout", Message(gzip.compress(ANN, mtime=0), signature, "gzip"))
        await asyncio.sleep(0)

    asyncio.run(refuse())
    said = logged.take(event)
    why, todo = ADVICE[Cause.CONTENT_ENCODING]
    assert (said["app"], said["cause"]) == ("helpscout", "content_encoding")
    assert (said["why"], said["todo"]) == (f"{why} (Content-Encoding: gzip)", todo)
    assert shared.totals().refusals == {("helpscout", Cause.CONTENT_ENCODING): CauseCount(1, 1000)}


def test_the_log_and_health_name_the_cause_and_the_client_learns_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(OTHER)
    with Daemon(tmp_path, config=TWO_APPS) as daemon:
        daemon.wait_for("serving")
        daemon.healthy()
        refusal = BAD_SIGNATURE
        for path, body, signature in (
            ("/helpscout", ANN, sign(ANN, OTHER)),
            ("/helpscout", ANN, None),  # too soon to be looked at
            ("/other", ANN + b"\n", sign(ANN, OTHER)),
        ):
            with contextlib.closing(daemon.connect()) as connection:
                headers = {} if signature is None else {"X-HelpScout-Signature": signature.decode()}
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (refusal.response.status, refusal.response.body)
        first, second = daemon.wait_for("wrong_signature"), daemon.wait_for("wrong_signature")
        assert (first["app"], first["cause"], first["secret_of"]) == ("helpscout", "other_app", "other")
        assert (second["app"], second["cause"]) == ("other", "line_ends")
        status, text, _ = daemon.admin("/healthz")
        refusals = json.loads(text)["refusals"]
        assert (status, {app: list(causes) for app, causes in refusals.items()}) == (
            200,
            {"helpscout": ["other_app"], "other": ["line_ends"]},
        )
        assert refusals["helpscout"]["other_app"]["count"] == 1
        assert daemon.stop() == 0
        daemon.rest()
        said = json.dumps(daemon.lines) + text
    secrets = (SECRET, OTHER, sign(ANN).decode(), sign(ANN, OTHER).decode(), sign(ANN + b"\n", OTHER).decode())
    assert [secret for secret in secrets if secret in said] == []
