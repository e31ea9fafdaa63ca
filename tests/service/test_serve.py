"""The service as an operator meets it: what it says and does, and why it does not start."""

import contextlib
import json
import socket
import subprocess
import sys

import pytest

from tests.coverage_env import COVERAGE
from tests.daemon import Daemon, until
from tests.factory import CUSTOMERS, SECRET, body_for, sign, write_csv
from tests.ports import free_port

ADMIN_PORT = 9180  # the default
ANN = body_for("ann@example.com")
CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
state = "state"
[customers]
source = "customers.csv"
addresses = ["email"]
[admin]
listen = ""
[[app]]
secrets = ["file:secret"]
"""


def make_home(folder, config=CONFIG):
    """Write a config, a secret and customers into `folder`; give the port."""
    port = free_port()
    (folder / "sidebard.toml").write_text(config.format(port=port))
    (folder / "secret").write_text(SECRET + "\n")
    write_csv(folder / "customers.csv")
    return port


def test_serves_and_ends(tmp_path):
    with Daemon(tmp_path) as daemon:
        assert daemon.wait_for("self_signed_certificate")["level"] == "warning"
        assert daemon.wait_for("import")["rows"] == len(CUSTOMERS) - 1
        assert daemon.wait_for("serving")["addresses"] == [f"127.0.0.1:{daemon.port}"]
        assert "Ann Lee" in daemon.ask()
        assert daemon.post(ANN.replace(b"ann", b"bnn"), sign(ANN)) == 403
        assert daemon.wait_for("request")["outcome"] == "found"
        assert daemon.wait_for("request")["outcome"] == "bad_signature"
        assert daemon.stop() == 0
        daemon.rest()
        assert [line["event"] for line in daemon.lines[-2:]] == ["stopping", "stopped"]


def test_without_a_config(tmp_path):
    _serve_without_a_config(tmp_path, is_taken=False)


def test_without_a_config_beside_another_one(tmp_path):
    """The port of the admin pages is the first one's."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(AssertionError):  # then a service of somebody else's has it, and keeps it
            until(lambda: stack.enter_context(_admin_port()), "the port", 5.0)
        _serve_without_a_config(tmp_path, is_taken=True)


@contextlib.contextmanager
def _admin_port():
    """Hold the port for as long as it lasts; give None if it is another one's now."""
    try:
        held = socket.create_server(("127.0.0.1", ADMIN_PORT))
    except OSError:
        yield None
        return
    with held:
        yield held


def _serve_without_a_config(tmp_path, *, is_taken):
    listen = f"127.0.0.1:{free_port()}"
    flags = ["--customers", tmp_path / "customers.csv", "--secret-file", tmp_path / "secret", "--listen", listen]
    with Daemon(tmp_path, arguments=[*map(str, flags), "--workers", "1"]) as daemon:
        serving = daemon.wait_for("serving")
        assert (serving["addresses"], serving["workers"]) == ([listen], 1)
        events = {line["event"] for line in daemon.lines}
        assert events & {"self_signed_certificate", "running_as_root"} == set()  # no advice about a first look
        page = None if "admin_pages_off" in events else f"http://127.0.0.1:{ADMIN_PORT}/"
        assert serving.get("status_page") == page
        if is_taken:
            (off,) = [line for line in daemon.lines if line["event"] == "admin_pages_off"]
            assert f"127.0.0.1:{ADMIN_PORT}: cannot listen: Address already in use" in off["why"]
        daemon.port = int(listen.partition(":")[2])
        assert "Ann Lee" in daemon.ask()


def test_no_customers_yet(tmp_path):
    """It says why once, however often it looks."""
    with Daemon(tmp_path, customers=False) as daemon:
        assert "does not exist; put the file there" in daemon.wait_for("import_refused")["why"]
        daemon.wait_for("serving")
        assert "Customer list not loaded" in daemon.ask()
        write_csv(tmp_path / "customers.csv")
        daemon.wait_for("import")
        daemon.stop()
        daemon.rest()
        assert [line["event"] for line in daemon.lines].count("import_refused") == 1


def test_a_new_file_is_seen(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        assert "Pro" in daemon.ask()
        rows = [*CUSTOMERS[:1], ("ann@example.com", "Ann Lee", "Enterprise"), *CUSTOMERS[2:]]
        write_csv(tmp_path / "new.csv", rows).rename(tmp_path / "customers.csv")
        daemon.wait_for("import")
        until(lambda: "Enterprise" in daemon.ask(), "the new data")
        daemon.stop()
    with Daemon(tmp_path, customers=False) as daemon:  # it has the snapshot, and does not read the file again
        daemon.wait_for("serving")
        assert "Enterprise" in daemon.ask()
        assert daemon.healthy()["last_import"] is None
        daemon.stop()
        daemon.rest()
        assert "import" not in [line["event"] for line in daemon.lines]


def start(*arguments, home):
    return subprocess.run(
        [sys.executable, "-m", "appliance", "serve", *map(str, arguments)],
        capture_output=True,
        env={**COVERAGE, "PATH": "/usr/bin:/bin", "HOME": str(home)},
        timeout=60,
        check=False,
    )


def refuse(result, code):
    """Every failed start is lines of JSON like all others, one sentence each, and says nothing else."""
    assert result.returncode == code
    return [json.loads(line)["message"] for line in result.stderr.splitlines()]


def test_wrong_config(tmp_path):
    make_home(tmp_path, CONFIG + "[cach]\n[log]\nlevel = 7\n")
    faults = refuse(start("--config", tmp_path / "sidebard.toml", home=tmp_path), 78)
    assert [fault.partition(": ")[2].partition(";")[0] for fault in faults] == [
        "cach: unknown table",
        "log.level: is not one of the choices (got 7)",
    ]


@pytest.mark.parametrize(("secret", "why"), [(None, "cannot be read: No such file"), ("", "is empty")])
def test_no_secret(secret, why, tmp_path):
    make_home(tmp_path)
    (tmp_path / "secret").unlink()
    if secret is not None:
        (tmp_path / "secret").write_text(secret)
    (fault,) = refuse(start("--config", tmp_path / "sidebard.toml", home=tmp_path), 78)
    assert "sidebard.toml:11: app[0].secrets" in fault
    assert why in fault


def refuse_last(result):
    (sentence,) = refuse(result, 3)
    return sentence


def test_unusable_certificate(tmp_path):
    make_home(tmp_path, CONFIG + '[tls]\ncertificate = "secret"\nkey = "secret"\n')
    assert "is not a PEM file" in refuse_last(start("--config", tmp_path / "sidebard.toml", home=tmp_path))


def test_state_folder_that_cannot_be_made(tmp_path):
    make_home(tmp_path)
    (tmp_path / "state").write_text("a file")
    sentence = refuse_last(start("--config", tmp_path / "sidebard.toml", home=tmp_path))
    assert sentence.startswith(f"{tmp_path}/state: the state folder cannot be used: ")


def test_nothing_of_a_customer_in_any_line(tmp_path):
    """Bad rows, strangers, forged requests: no word of the customers, the messages or the secret is logged."""
    rows = [*CUSTOMERS, ("needle", "Needle Name", "x"), ("needle@example.com", "two cells")]
    write_csv(tmp_path / "customers.csv", rows)
    with Daemon(tmp_path, customers=False, customer_keys='max_bad_rows = "60%"') as daemon:
        daemon.wait_for("serving")
        for emails in (["ann@example.com"], ["needle@example.com"], []):
            body = body_for(*emails, user={"fname": "Needle"})
            assert daemon.post(body, sign(body)) == 200
            assert daemon.post(body, sign(ANN, "forged")) == 403
        pages = daemon.admin("/healthz")[1] + daemon.admin("/metrics")[1]
        daemon.stop()
        daemon.rest()
        text = json.dumps(daemon.lines) + pages
    others = [row for row in CUSTOMERS[1:] if row[1] != "Help Scout"]  # whose name the help of the metrics may say
    words = {word for row in others for cell in row for word in (cell, *cell.split())}
    words |= {"eedle", "example.com", SECRET, sign(ANN).decode(), "two cells"}
    assert [word for word in words if word in text] == []
