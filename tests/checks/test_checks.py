"""The named checks: what is right is called right, and each thing that is wrong has a sentence that says what to do."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.checks import sockets
from appliance.checks.context import Ground
from appliance.checks.finding import Status, worst
from appliance.checks.registry import CHECKS, run
from appliance.config.schema import load
from appliance.config.values import Endpoint
from appliance.errors import StartFault
from appliance.ingest import dry_run, validation
from appliance.system.privileges import eyes_of, owner_of
from tests.checks.running import ground, look, only, settings, told
from tests.daemon import Daemon
from tests.edge.test_tls import BETWEEN, NOW, ROOT, leaf, root_is_trusted, write
from tests.factory import CUSTOMERS, write_csv

__all__ = ["root_is_trusted"]  # a fixture that every test here uses

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")


def test_a_good_installation_has_no_fault(tmp_path: Path) -> None:
    write(tmp_path, leaf(), BETWEEN)
    where = ground(tmp_path, now=NOW.timestamp(), tls='certificate = "a.crt"\nkey = "a.key"')
    for file in tmp_path.iterdir():
        os.utime(file, (NOW.timestamp(), NOW.timestamp()))
    (tmp_path / "a.key").chmod(0o600)
    assert {result.name: result.status for result in run(where)} == {check.name: Status.OK for check in CHECKS}


def test_the_worst_decides() -> None:
    assert worst([]) is Status.OK
    assert worst([Status.NOT_CHECKED, Status.OK]) is Status.NOT_CHECKED
    assert worst([Status.WARNING, Status.FAULT, Status.NOT_CHECKED]) is Status.FAULT


def test_every_check_is_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    assert [check.name for check in CHECKS if f"| `{check.name}` |" not in text] == []


# Secrets


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        pytest.param(b"x" * 40, "ok", "40 bytes", id="good"),
        pytest.param(b"x" * 15, "warning", "15 bytes can be guessed; make one with `openssl rand", id="short"),
        pytest.param(b"x" * 41, "warning", "41 bytes, and Help Scout takes 40", id="long"),
        pytest.param(b"x" * 20 + b" \n", "warning", "begins or ends with white space", id="white space"),
        pytest.param(b"", "fault", "is empty or not set; put the secret from Help Scout's app page into", id="empty"),
        pytest.param(None, "fault", "cannot be read: No such file or directory; put the secret into", id="missing"),
    ],
)
def test_secrets(content: bytes | None, status: str, sentence: str, tmp_path: Path) -> None:
    where = ground(tmp_path)
    (tmp_path / "secret").unlink()
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    [(found, said)] = told(look("secrets", where))
    assert (found, sentence in said) == (status, True), said
    assert "file:secret" in said
    assert "xxx" not in said


def test_each_secret_is_looked_at(tmp_path: Path) -> None:
    where = ground(tmp_path, app='secrets = ["file:none", "env:NONE"]')
    first, second = told(look("secrets", where))
    assert "sidebard.toml:16: app[0].secrets: file:none cannot be read" in first[1]
    assert "env:NONE is empty or not set" in second[1]


def test_credentials_are_systemds_to_pass(tmp_path: Path) -> None:
    where = ground(tmp_path, app='secrets = ["credential:helpscout"]')
    assert only(look("secrets", where)).status is Status.NOT_CHECKED
    where = ground(
        tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "hidden")}, app='secrets = ["credential:helpscout"]'
    )
    assert only(look("secrets", where)).status is Status.NOT_CHECKED
    (tmp_path / "helpscout").write_text("a secret of systemd's")
    where = ground(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, app='secrets = ["credential:helpscout"]')
    assert only(look("secrets", where)).status is Status.OK


# Certificates (F8)


def _cut(folder: Path) -> None:
    certificate, _key = write(folder, leaf(), BETWEEN)
    certificate.write_bytes(certificate.read_bytes()[:300])


CERTIFICATES: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("good", lambda folder: write(folder, leaf(), BETWEEN), "ok", "for support.example.com, 89 days left"),
    ("expired", lambda folder: write(folder, leaf(begin=-100), BETWEEN), "fault", "expired on 2026-09-11; renew it"),
    ("not yet", lambda folder: write(folder, leaf(begin=1), BETWEEN), "fault", "not valid before 2026-09-22 00:00 UTC"),
    ("no name", lambda folder: write(folder, leaf(names=[]), BETWEEN), "fault", "names no server"),
    ("another key", lambda folder: write(folder, leaf(), BETWEEN, key=leaf()), "fault", "do not belong together"),
    ("chain in the wrong order", lambda folder: write(folder, leaf(), ROOT, BETWEEN), "fault", "put the server's own"),
    ("no chain", lambda folder: write(folder, leaf()), "warning", "use the full chain"),
    ("near its end", lambda folder: write(folder, leaf(begin=-77), BETWEEN), "warning", "ends in 13.0 days; renew it"),
    ("six days, four left", lambda folder: write(folder, leaf(begin=-2, days=6), BETWEEN), "ok", "4 days left"),
    (
        "six days, one left",
        lambda folder: write(folder, leaf(begin=-5, days=6), BETWEEN),
        "warning",
        "ends in 1.0 days",
    ),
    (
        "missing",
        lambda folder: None,
        "fault",
        "tls.certificate cannot be read: No such file or directory; put it there",
    ),
    ("cut", _cut, "fault", "is not a PEM file with a certificate; convert it"),
]


@pytest.mark.parametrize(
    ("make", "status", "sentence"), [case[1:] for case in CERTIFICATES], ids=[case[0] for case in CERTIFICATES]
)
def test_certificates(make: Callable[[Path], object], status: str, sentence: str, tmp_path: Path) -> None:
    make(tmp_path)
    result = look("certificate", ground(tmp_path, now=NOW.timestamp(), tls='certificate = "a.crt"\nkey = "a.key"'))
    assert result.status.value == status
    assert sentence in " ".join(said for found, said in told(result) if found == status)


def test_a_certificate_too_many_is_not_in_the_way_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, leaf(), BETWEEN)
    tls = 'certificate = "none"\nkey = "none"\n[[tls.more]]\ncertificate = "a.crt"\nkey = "a.key"'
    found = told(look("certificate", ground(tmp_path, now=NOW.timestamp(), tls=tls)))
    assert [status for status, _ in found] == ["fault", "ok"]


def test_no_certificate(tmp_path: Path) -> None:
    made_here = only(look("certificate", ground(tmp_path)))
    assert made_here.status is Status.WARNING
    assert (
        "made here for localhost is used, and Help Scout does not accept it; name tls.certificate" in made_here.sentence
    )
    assert only(look("certificate", ground(tmp_path, tls="enabled = false"))).status is Status.OK
    assert list((tmp_path / "state").iterdir()) == []


# Modes


@pytest.mark.parametrize(
    ("file", "mode", "status"),
    [
        ("secret", 0o640, "ok"),
        ("secret", 0o644, "warning"),
        ("secret", 0o660, "warning"),
        ("a.key", 0o640, "ok"),
        ("a.key", 0o644, "warning"),
        ("a.crt", 0o644, "ok"),
        ("sidebard.toml", 0o644, "ok"),
        ("sidebard.toml", 0o664, "warning"),
        ("card.html", 0o644, "ok"),
        ("card.html", 0o664, "fault"),
        ("card.html", 0o646, "fault"),
        ("trail", 0o640, "ok"),
        ("trail", 0o644, "warning"),
    ],
)
def test_modes(file: str, mode: int, status: str, tmp_path: Path) -> None:
    tls, app, more = 'certificate = "a.crt"\nkey = "a.key"', 'card = "card.html"', '[log]\ntrail = "trail"'
    where = ground(tmp_path, tls=tls, app=app, more=more)
    for name in ("a.crt", "a.key", "card.html", "trail"):
        (tmp_path / name).touch(0o600)
    (tmp_path / file).chmod(mode)
    finding = only(look("permissions", where))
    assert finding.status.value == status
    assert status == "ok" or (
        f"{tmp_path / file} (mode {mode:04o}): " in finding.sentence and "chmod" in finding.sentence
    )


# Sockets


def test_a_port_that_somebody_holds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        finding = only(look("sockets", ground(tmp_path, server=f'listen = ["0.0.0.0:{port}"]')))
    assert finding.status is Status.FAULT
    assert finding.sentence.startswith(f"0.0.0.0:{port} is held by python")
    assert "stop it, or choose another with server.listen" in finding.sentence


def test_ports_that_sidebard_holds_are_left_alone(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        found = told(look("sockets", Ground(load(daemon.config, {}), {})))
        assert daemon.stop() == 0
    ports = (daemon.port, daemon.admin_port)
    assert found == [("ok", f"127.0.0.1:{port} is held by sidebard") for port in ports]


def test_a_free_port_stays_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    where = ground(tmp_path, server=f'listen = ["127.0.0.1:{port}", "[::1]:{port}"]')
    assert look("sockets", where).status is Status.OK
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    finding = only(look("sockets", ground(tmp_path, server='listen = ["192.0.2.1:4433"]')))
    assert (finding.status, "Cannot assign requested address" in finding.sentence) == (Status.FAULT, True)


def test_unix_sockets(tmp_path: Path) -> None:
    where = ground(tmp_path, server=f'listen = ["unix:{tmp_path}/s"]', tls="enabled = false")
    assert only(look("sockets", where)).sentence == f"unix:{tmp_path}/s is free"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(f"{tmp_path}/s")
        assert only(look("sockets", where)).status is Status.OK  # left behind by one that was killed
        held.listen()
        assert only(look("sockets", where)).sentence.startswith(f"unix:{tmp_path}/s is held by python")
    where = ground(tmp_path, server=f'listen = ["unix:{tmp_path}/no/s"]', tls="enabled = false")
    assert f"there is no folder {tmp_path}/no; make it" in only(look("sockets", where)).sentence


@pytest.mark.parametrize(
    ("holders", "status"),
    [({"sidebard"}, "ok"), ({"systemd", "sidebard"}, "ok"), ({"nginx"}, "fault"), (set(), "not_checked")],
)
def test_who_holds_it(holders: set[str], status: str) -> None:
    finding = sockets.judge_held(Endpoint("0.0.0.0", 443), "server.listen", holders)
    assert finding.status.value == status
    assert all(holder in finding.sentence for holder in holders)


@pytest.mark.parametrize(
    ("wanted", "held", "overlap"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::", True),
        ("::1", "0.0.0.0", False),
        ("::1", "::", True),
        ("127.0.0.1", "::1", False),
    ],
)
def test_overlap(wanted: str, held: str, overlap: bool) -> None:
    assert sockets.overlap(wanted, ip_address(held)) is overlap


# Customers and cards


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        pytest.param(None, "fault", "customers.csv does not exist; put the file there", id="missing"),
        pytest.param("", "fault", "customers.csv:1: the file is empty; add a header", id="empty"),
        pytest.param(
            "mail,name\na@b.example,A\n",
            "fault",
            'customers.csv:1: there is no column "email", only "mail", "name"; correct customers.addresses',
            id="missing column",
        ),
        pytest.param("email,name\na@b.example,A\nc@b.exam", "fault", "customers.csv:3: ", id="cut in a row"),
        pytest.param(
            "email,name\na@b.example,A\nc@b.example,C", "fault", "the last line has no line end", id="cut at the end"
        ),
        pytest.param(
            'email,name\na@b.example,"A\nc@b.example,C\n',
            "fault",
            "customers.csv:2: a quoted field begins here",
            id="open quote",
        ),
        pytest.param("email,name\n" + "x\n" * 5, "fault", "5 of 5 rows are bad", id="bad rows"),
        pytest.param(
            "email,name\n" + "a@b.example,A\n" * 300 + "x\n", "warning", "customers.csv:302: 1 cells", id="one bad row"
        ),
        pytest.param("email,name\n,A\n", "fault", 'no customer with an address in "email"', id="no address"),
        pytest.param("email,name\na@b.example,A\n,B\n", "ok", "2 customers, 1 with an address", id="good"),
    ],
)
def test_customers(text: str | None, status: str, sentence: str, tmp_path: Path) -> None:
    where = ground(tmp_path)
    (tmp_path / "customers.csv").unlink()
    if text is not None:
        (tmp_path / "customers.csv").write_text(text)
    _judged(where, status, sentence)


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        pytest.param(None, "fault", "customers.csv does not exist; put the file there", id="missing"),
        pytest.param("mail,name\na@b.example,A\n", "fault", 'there is no column "email"', id="missing column"),
        pytest.param(
            "email,name\na@b.example,A\nc@b.exam", "fault", "the last line has no line end", id="cut in a row"
        ),
        pytest.param("email\r\nx@b.example", "fault", "the last line has no line end", id="cut at the end"),
        pytest.param("email,name\n" + "x\n" * 5, "warning", "5 bad rows would be left out", id="bad rows"),
        pytest.param("email,name\n,A\n", "warning", 'no customer has an address in "email"', id="no address"),
        pytest.param("email,name\n", "ok", "the first 0 customers", id="no customers"),
        pytest.param(
            "email,name\na@b.example,A\n,B\n",
            "ok",
            "the first 2 customers and the end of the file are good; it is large, so the rest was not read",
            id="good",
        ),
    ],
)
def test_customers_in_a_large_file(
    text: str | None, status: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    test_customers(text, status, sentence, tmp_path)


def test_the_end_of_a_large_file_in_utf_16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    where = ground(tmp_path)
    for text, status in (("email\na@b.example\n", "ok"), ("email\na@b.example", "fault")):
        (tmp_path / "customers.csv").write_text(text, "utf-16")
        assert look("customers", Ground(where.settings, {})).status.value == status


def _judged(where: Ground, status: str, sentence: str) -> None:
    result = look("customers", where)
    said = " ".join(said for _, said in told(result))
    assert (result.status.value, sentence in said) == (status, True), said


def test_related_files_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    related = '[related.orders]\nsource = "orders.csv"\nkey = "email"\non = "email"\norder_by = "-date"'
    write_csv(tmp_path / "orders.csv", [("mail", "date"), ("ann@example.com", "2026-01-01")])
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        said = only(look("customers", ground(tmp_path, more=related))).sentence
        assert 'orders.csv:1: there is no column "email", only "mail", "date"; correct related.orders' in said
    write_csv(tmp_path / "orders.csv", [("email", "date"), ("ann@example.com", "2026-01-01")])
    assert look("customers", ground(tmp_path, more=related)).status is Status.OK
    with open(tmp_path / "orders.csv", "a") as text:
        text.write("ann@example.com,2026")
    assert (
        "orders.csv: the last line has no line end" in only(look("customers", ground(tmp_path, more=related))).sentence
    )


def test_a_large_database_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    with closing(sqlite3.connect(tmp_path / "customers.db")) as database, database:
        database.execute("CREATE TABLE customers(email)")
    config = settings(tmp_path).file
    assert config is not None
    config.write_text(config.read_text().replace("customers.csv", "customers.db"))
    where = Ground(load(config, {}), {})
    assert only(look("customers", where)).status is Status.NOT_CHECKED
    assert "there are no customers to try it on" not in only(look("card", where)).sentence


def test_the_operators_own_marks_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        said = only(look("customers", ground(tmp_path, customers='ready_file = "ready"'))).sentence
        assert "ready is not there yet" in said


def test_a_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    where = ground(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert list(run(where))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        ("{{ customer.name }}", "ok", f"tried on {len(CUSTOMERS) - 1} customers"),
        ("{{ customer.nmae }}", "fault", 'card.html:1: there is no column "nmae"'),
        ("{% if %}", "fault", "card.html:1"),
        ("{{ date(customer.name }}", "fault", "card.html:1: this is not Python: '(' was never closed; correct the"),
        (None, "fault", "card.html: cannot be read: No such file"),
    ],
)
def test_cards(text: str | None, status: str, sentence: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "card.html").write_text(text)
    finding = only(look("card", ground(tmp_path, app='card = "card.html"')))
    assert (finding.status.value, sentence in finding.sentence) == (status, True), finding.sentence


def test_a_column_that_the_built_in_card_is_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        result = look("card", ground(tmp_path, app='[app.display]\ncolumns = ["plan", "nmae"]'))
        assert [status for status, _ in told(result)] == ["ok", "warning"]
        assert '"nmae" is no column of the customers; did you mean "name"?' in told(result)[1][1]


def test_a_card_with_related_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "orders.csv", [("mail", "total"), ("nobody@example.com", "1")])
    (tmp_path / "card.html").write_text("{% for order in customer.orders %}{{ order.totla }}{% end %}")
    related = '[related.orders]\nsource = "orders.csv"\nkey = "mail"\non = "email"'
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        said = only(look("card", ground(tmp_path, more=related, app='card = "card.html"'))).sentence
        assert 'card.html:1: there is no column "totla"; did you mean "total"?' in said


def test_a_card_without_customers(tmp_path: Path) -> None:
    (tmp_path / "card.html").write_text("{{ customer.name }}")
    where = ground(tmp_path, app='card = "card.html"')
    (tmp_path / "customers.csv").unlink()
    assert only(look("card", where)).status is Status.NOT_CHECKED


# The machine


def test_the_state_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    where = ground(tmp_path, server="")
    (tmp_path / "state").rmdir()
    assert "state is not there yet, and will be made" in only(look("state", where)).sentence
    (tmp_path / "state").touch()
    finding = only(look("state", where))
    assert (finding.status, "name another in server.state" in finding.sentence) == (Status.FAULT, True)


@needs_root
def test_root_looks_with_the_eyes_of_the_state_folders_owner(tmp_path: Path) -> None:
    made = settings(tmp_path)
    assert owner_of(made.server.state) is None
    os.chown(tmp_path / "state", 65534, 65534)
    eyes = owner_of(made.server.state)
    assert eyes is not None
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:3]:
        folder.chmod(folder.stat().st_mode | 0o011)
    where = Ground(made, {}, eyes=eyes)
    assert eyes.pw_name in told(look("config", where))[1][1]
    assert "Permission denied" in only(look("secrets", where)).sentence
    assert look("state", where).status is Status.OK
    assert os.geteuid() == 0


@needs_root
def test_root_looks_with_the_eyes_of_the_user_whom_it_becomes(tmp_path: Path) -> None:
    made = settings(tmp_path, server='user = "nobody"')
    (tmp_path / "customers.csv").chmod(0o600)
    (tmp_path / "state").chmod(0o700)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    where = Ground(made, {}, eyes=eyes_of(made.server.user, made.server.state))
    assert "looked at as nobody, whom server.user names" in told(look("config", where))[1][1]
    assert "Permission denied" in only(look("customers", where)).sentence
    assert look("state", where).status is Status.OK  # it becomes theirs at the start


@needs_root
def test_a_user_who_is_not_there(tmp_path: Path) -> None:
    made = settings(tmp_path, server='user = "no-such-user"')
    fault = 'server.user: there is no user "no-such-user" here; create it, or name another'
    with pytest.raises(StartFault, match=fault):
        eyes_of(made.server.user, made.server.state)
    assert told(look("config", Ground(made, {})))[-1] == ("fault", fault)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ground(tmp_path)
    assert look("space", where).status is Status.OK
    monkeypatch.setattr(validation, "_ROOM", 1 << 60)
    finding = only(look("space", where))
    assert (finding.status, "make room there" in finding.sentence) == (Status.FAULT, True)


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (datetime(1970, 1, 2, tzinfo=UTC), "fault"),
        (datetime(2025, 12, 31, tzinfo=UTC), "fault"),
        (NOW - timedelta(days=1), "warning"),
        (NOW, "ok"),
    ],
)
def test_the_clock(now: datetime, status: str, tmp_path: Path) -> None:
    where = ground(tmp_path, now=now.timestamp())
    (tmp_path / "state" / "log.key").touch()
    os.utime(tmp_path / "state" / "log.key", (NOW.timestamp(), NOW.timestamp()))
    assert only(look("clock", where)).status.value == status


def test_descriptors(tmp_path: Path) -> None:
    assert only(look("descriptors", ground(tmp_path, server="max_connections = 10"))).status is Status.OK
    finding = only(look("descriptors", ground(tmp_path, server="max_connections = 1_000_000")))
    assert (finding.status, "raise LimitNOFILE=" in finding.sentence) == (Status.WARNING, True)


# The start


def test_the_start_logs_what_is_wrong_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "card.html").write_text("{{ customer.name }}")
    (tmp_path / "card.html").chmod(0o666)
    app = '[[app]]\nname = "other"\npath = "/other"\ncard = "card.html"\nsecrets = ["file:secret"]'
    with Daemon(tmp_path, server="max_connections = 1_000_000", config=app) as daemon:
        daemon.wait_for("serving")
        assert "Ann Lee" in daemon.ask()
        assert daemon.stop() == 0
    found = [line for line in daemon.lines if str(line["event"]).startswith("check_")]
    assert [(line["event"], line["check"]) for line in found] == [
        ("check_fault", "permissions"),
        ("check_warning", "descriptors"),
    ]
    assert "a card is code that runs here; chmod go-w it" in str(found[0]["message"])
