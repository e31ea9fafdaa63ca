"""SIGHUP and changed certificates: the new is checked first, and nobody is refused meanwhile."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
from functools import partial
from pathlib import Path

import trustme

from tests.daemon import ROOT, Daemon, children, until
from tests.service.test_faults import Running, clients

STILLBORN = (sys.executable, str(ROOT / "tests" / "service" / "stillborn.py"))
TLS = '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"'


def write_pair(folder: Path, *, certificate: bool = True, key: bool = True) -> str:
    """Write a new certificate and its key, or one of them alone; give the certificate."""
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    chain = issued.cert_chain_pems[0].bytes()
    for file, content, wanted in (("key.pem", issued.private_key_pem.bytes(), key), ("cert.pem", chain, certificate)):
        if wanted:
            (folder / f"{file}.new").write_bytes(content)
            (folder / f"{file}.new").rename(folder / file)
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(chain.decode()))


def served(daemon: Daemon) -> str:
    """Give the certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", daemon.port), timeout=10)


def test_a_good_config_is_used_and_no_request_fails(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        with clients(daemon) as failures:
            for workers in (3, 1, 1, 2):
                before = set(daemon.workers())
                daemon.write_config(workers=workers)
                daemon.send(signal.SIGHUP)
                assert daemon.wait_for("reloaded")["workers"] == workers
                until(partial(_all_new, daemon, before), "the end of the old workers")
                assert daemon.healthy()["workers"]["wanted"] == workers
        assert failures == []
        assert daemon.requests


def _all_new(daemon: Daemon, before: set[int]) -> bool:
    return not before & set(daemon.workers())


def test_counters_outlive_a_reload(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        for _ in range(3):
            daemon.ask()
            daemon.send(signal.SIGHUP)
            daemon.wait_for("reloaded")
        assert f'outcome="found"}} {daemon.requests}.0' in daemon.admin("/metrics")[1]


def test_a_bad_config_changes_nothing_and_shows(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        workers = daemon.workers()
        daemon.write_config(server="max_conections = 3")
        daemon.send(signal.SIGHUP)
        assert "did you mean" in str(daemon.wait_for("reload_refused")["why"])
        assert daemon.workers() == workers
        assert "Ann Lee" in daemon.ask()
        until(lambda: "the new config is not used" in str(daemon.health()["reasons"]), "the reason")
        daemon.write_config()
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.healthy()


def test_a_faulty_card_changes_nothing_and_a_good_one_is_used(tmp_path: Path) -> None:
    card = tmp_path / "card.html"
    card.write_text("<p>{{ customer.name }}, the first</p>")
    with Daemon(tmp_path, app='card = "card.html"') as daemon:
        daemon.wait_for("serving")
        assert daemon.ask() == "<p>Ann Lee, the first</p>"
        card.write_text("<p>\n{% if customer %}</p>")
        assert daemon.ask("jackie.chan@example.com") == "<p>Jackie, the first</p>"  # a changed file alone does nothing
        daemon.send(signal.SIGHUP)
        assert "card.html:2: Missing {% end %} block for if" in str(daemon.wait_for("reload_refused")["why"])
        assert daemon.ask("help@helpscout.net") == "<p>Help Scout, the first</p>"
        card.write_text("<p>{{ customer.name }}, the second</p>")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert daemon.ask() == "<p>Ann Lee, the second</p>"


def test_a_config_whose_customers_cannot_be_imported_changes_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.config.write_text(daemon.config.read_text().replace("customers.csv", "nowhere.csv"))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("import_refused")
        daemon.wait_for("reload_refused")
        assert "Ann Lee" in daemon.ask()
        until(lambda: daemon.health()["data"], "the steward of before")


def test_other_customers_are_imported_before_they_are_served(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        (tmp_path / "others.csv").write_text("email,name\nann@example.com,Ann Lee Again\n")
        daemon.config.write_text(daemon.config.read_text().replace("customers.csv", "others.csv"))
        with clients(daemon) as failures:
            daemon.send(signal.SIGHUP)
            daemon.wait_for("reloaded")
        assert failures == []
        assert "Ann Lee Again" in daemon.ask()


def test_workers_that_cannot_start_are_given_up(tmp_path: Path) -> None:
    with Daemon(tmp_path, program=STILLBORN) as daemon:
        daemon.wait_for("serving")
        workers = daemon.workers()
        (tmp_path / "stillborn").touch()
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reload_refused")
        # A steward that has just been forked again still holds the public sockets for a moment.
        until(lambda: daemon.workers() == workers, "the workers of before")
        assert "Ann Lee" in daemon.ask()


def test_what_only_a_restart_can_change_is_said(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.config.write_text(daemon.config.read_text().replace('state = "state"', 'state = "elsewhere"'))
        daemon.send(signal.SIGHUP)
        assert daemon.wait_for("needs_restart")["keys"] == ["server.state"]
        daemon.wait_for("reloaded")
        assert not (tmp_path / "elsewhere").exists()


def test_running_requests_outlive_a_reload(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        request = Running(daemon)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert "Ann Lee" in request.finish()


def test_running_requests_outlive_a_reload_and_a_stop_soon_after_it(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        request = Running(daemon)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopping")
        until(lambda: len(children(daemon.pid)) == 1, "the end of all but the worker that is needed")
        assert "Ann Lee" in request.finish()
        assert daemon.end() == 0
        assert "requests_cut_off" not in {line["event"] for line in daemon.rest()}


def test_a_changed_certificate_is_served_within_seconds(tmp_path: Path) -> None:
    first = write_pair(tmp_path)
    with Daemon(tmp_path, workers=2, config=TLS) as daemon:
        daemon.wait_for("serving")
        assert served(daemon) == first
        with clients(daemon) as failures:
            second = write_pair(tmp_path)
            daemon.wait_for("certificate_changed", patience=2)
            daemon.wait_for("reloaded")
            assert {served(daemon) for _ in range(4)} == {second}
        assert failures == []


def test_a_bad_pair_keeps_the_old_one(tmp_path: Path) -> None:
    first = write_pair(tmp_path)
    with Daemon(tmp_path, config=TLS) as daemon:
        daemon.wait_for("serving")
        workers = daemon.workers()
        write_pair(tmp_path, key=False)
        assert "do not belong together" in str(daemon.wait_for("certificate_refused")["why"])
        assert served(daemon) == first
        assert daemon.workers() == workers
        until(lambda: "the new certificate is not used" in str(daemon.health()["reasons"]), "the reason")
        second = write_pair(tmp_path)
        daemon.wait_for("reloaded")
        assert served(daemon) == second
        daemon.healthy()
        daemon.stop()
        assert "certificate_refused" not in {line["event"] for line in daemon.rest()}


def test_tickets_resume_on_every_worker_also_after_a_reload(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket is there as soon as the handshake has ended

        def resumed(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
            with (
                socket.create_connection(("127.0.0.1", daemon.port)) as plain,
                context.wrap_socket(plain, session=session) as secure,
            ):
                return bool(secure.session_reused), secure.session

        _, session = resumed(None)
        assert all(resumed(session)[0] for _ in range(10))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert all(resumed(session)[0] for _ in range(10))
