"""The page and the legacy app of one `[[app]]`, by the whole service."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
from pathlib import Path

from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.daemon import Daemon, until
from tests.factory import SECRET, body_for, sign, visit_for, write_csv

ROWS = (("hs id", "email", "name"), ("604417723", "ida@nord.example", "Ida Møller"), ("", "bo@nord.example", "Bo"))
CONFIG = '[log]\ntrail = "trail"\n[helpscout]\ncolumn = "HS ID"\n'
APP = '[app.page]\nsecrets = ["file:page-secret"]\nown_parameters = ["tenant"]\n'
PAGE = HelpScoutPage([b"another secret of the tests"])


def look(daemon: Daemon, query: str, **headers: str) -> tuple[int, str]:
    with contextlib.closing(daemon.connect()) as connection:
        connection.request("GET", f"/helpscout?{query}", headers=headers)
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer.status, answer.read().decode()


def test_both_forms_from_one_configuration(tmp_path: Path) -> None:
    write_csv(tmp_path / "customers.csv", ROWS)
    (tmp_path / "page-secret").write_text("another secret of the tests")
    (tmp_path / "page-secret").chmod(0o600)
    with Daemon(tmp_path, config=CONFIG, app=APP, customers=False) as daemon:
        daemon.wait_for("serving")
        visit = visit_for(PAGE, conversation_id=12, customer_id=604417723, user_id=56).body.decode()
        status, page = look(daemon, f"tenant=acme&{visit}")
        assert (status, "<h4>Ida Møller</h4>" in page) == (200, True)
        assert PAGE.read_card(page.encode()) == daemon.ask("ida@nord.example")
        other = HelpScoutPage([SECRET.encode()])
        assert look(daemon, visit_for(other, customer_id=604417723).body.decode())[0] == 403  # the legacy app's secret
        said = daemon.wait_for("wrong_signature")
        assert (said["cause"], said["secret_of"]) == ("other_app", "helpscout")
        assert daemon.post(body_for("ida@nord.example"), sign(body_for("ida@nord.example"))) == 200

        # A new customer's id is known with the next import.
        unknown = visit_for(PAGE, customer_id=7).body.decode()
        assert "not known yet" in look(daemon, unknown)[1]
        write_csv(tmp_path / "customers.csv", (*ROWS, ("7", "new@nord.example", "New")))
        until(lambda: "<h4>New</h4>" in look(daemon, unknown)[1])
        assert daemon.stop() == 0
        daemon.rest()
    trail = [json.loads(line) for line in (tmp_path / "trail").read_text().splitlines()]
    assert [(line["outcome"], line["agent"], line["conversation"]) for line in trail[:1]] == [("found", 56, 12)]
    assert len({line["customer"] for line in trail if line["outcome"] == "found"}) == 2  # by id or address, one person
    logged = json.dumps(daemon.lines)
    for word in ("604417723", "acme", "customer-id", "Signature"):
        assert word not in logged


def deliver(daemon: Daemon, event: str, body: bytes, secret: str = "the webhooks' secret") -> int:
    headers = {"X-HelpScout-Event": event, "X-HelpScout-Signature": sign(body, secret).decode()}
    with contextlib.closing(daemon.connect()) as connection:
        connection.request("POST", "/helpscout", body, headers)
        return connection.getresponse().status


def updated(customer: int, *addresses: str, at: str = "2026-01-01T00:00:00Z") -> bytes:
    emails = [{"value": address} for address in addresses]
    return json.dumps({"id": customer, "updatedAt": at, "_embedded": {"emails": emails}}).encode()


def test_a_webhook_is_on_the_next_page_of_every_worker(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("the webhooks' secret")
    (tmp_path / "hook").chmod(0o600)
    page = HelpScoutPage([SECRET.encode()])
    visit = visit_for(page, customer_id=604417723).body.decode()
    app = '[app.page]\nwebhook_secrets = ["file:hook"]\n'
    with Daemon(tmp_path, workers=2, app=app) as daemon:
        daemon.wait_for("serving")
        assert "not known yet" in look(daemon, visit)[1]
        assert deliver(daemon, "customer.created", updated(604417723, "x@x.example"), SECRET) == 403
        said = daemon.wait_for("wrong_signature")
        assert (said["cause"], said["secret_of"]) == ("other_app", "helpscout")
        assert deliver(daemon, "customer.created", updated(604417723, "ann@example.com")) == 200
        assert all("<h4>Ann Lee</h4>" in look(daemon, visit)[1] for _ in range(8))
        ids = daemon.health()["ids"]
        assert (ids["known"], ids["fault"], ids["changes"], ids["api"]) == (1, "", {"webhook": 1}, None)
        assert "1 since start" in daemon.admin("/")[1]
        assert "sidebard_ids_known 1.0" in daemon.admin("/metrics")[1]
        os.kill(daemon.steward(), signal.SIGKILL)
        assert deliver(daemon, "customer.updated", updated(604417723, "x@x.example", at="2026-01-02T00:00:00Z")) == 200
        assert all("x@x.example" in look(daemon, visit)[1] for _ in range(8))
        assert deliver(daemon, "customer.updated", updated(604417723, "ann@example.com")) == 200  # late, and stale
        assert "x@x.example" in look(daemon, visit)[1]
        assert deliver(daemon, "customer.deleted", b'{"id": 604417723}') == 200
        assert "not known yet" in look(daemon, visit)[1]
        assert daemon.stop() == 0
        daemon.rest()
    assert "604417723" not in json.dumps(daemon.lines)
    assert "x.example" not in json.dumps(daemon.lines)


def test_a_full_disk_refuses_webhooks_and_nothing_else(tmp_path: Path) -> None:
    """A limit on the size of the steward's files does what a full disk does, for any user."""
    page = HelpScoutPage([SECRET.encode()])
    known, unknown = (visit_for(page, customer_id=one).body.decode() for one in (1, 2))
    with Daemon(tmp_path, workers=2, app="[app.page]") as daemon:
        daemon.wait_for("serving")
        assert deliver(daemon, "customer.created", updated(1, "ann@example.com"), SECRET) == 200
        steward = daemon.steward()
        room = resource.prlimit(steward, resource.RLIMIT_FSIZE)
        size = (tmp_path / "state" / "ids" / "00000001.journal").stat().st_size
        resource.prlimit(steward, resource.RLIMIT_FSIZE, (size + 10, room[1]))
        for _ in range(3):
            assert deliver(daemon, "customer.created", updated(2, "ann@example.com"), SECRET) == 503
            assert "<h4>Ann Lee</h4>" in look(daemon, known)[1]
            assert "not known yet" in look(daemon, unknown)[1]
            daemon.ask()
        assert "File too large" in str(daemon.wait_for("ids_not_stored")["why"])
        assert daemon.health()["ids"]["fault"]
        resource.prlimit(steward, resource.RLIMIT_FSIZE, room)
        assert deliver(daemon, "customer.created", updated(2, "ann@example.com"), SECRET) == 200
        assert all("<h4>Ann Lee</h4>" in look(daemon, one)[1] for one in (known, unknown))
        daemon.wait_for("ids_stored")
        assert daemon.steward() == steward
        assert daemon.stop() == 0
        daemon.rest()


def test_a_message_teaches_the_page_whose_id_it_is(tmp_path: Path) -> None:
    page = HelpScoutPage([SECRET.encode()])
    visit = visit_for(page, customer_id=604417723).body.decode()
    body = json.dumps({"customer": {"id": "604417723", "email": "ann@example.com"}}).encode()
    with Daemon(tmp_path, workers=2, app="[app.page]") as daemon:
        daemon.wait_for("serving")
        assert "not known yet" in look(daemon, visit)[1]
        assert daemon.post(body, sign(body)) == 200
        until(lambda: "<h4>Ann Lee</h4>" in look(daemon, visit)[1])
        assert daemon.stop() == 0
        daemon.rest()


def test_learning_can_be_turned_off(tmp_path: Path) -> None:
    body = json.dumps({"customer": {"id": "604417723", "email": "ann@example.com"}}).encode()
    with Daemon(tmp_path, config="[helpscout]\nlearn = false\n", app="[app.page]") as daemon:
        daemon.wait_for("serving")
        assert daemon.post(body, sign(body)) == 200
        assert deliver(daemon, "x", b"{}") == 403  # what comes now comes after it
        assert daemon.stop() == 0
        daemon.rest()
    assert (tmp_path / "state" / "ids" / "00000001.journal").read_bytes() == b""
