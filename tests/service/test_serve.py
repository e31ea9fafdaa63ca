"""The service as a process: how it starts, keeps its data fresh, and ends."""

import json
import socket
import subprocess
import sys

import pytest

from tests.daemon import CONFIG, make_home, running
from tests.factory import CUSTOMERS, SECRET, body_for, sign, write_csv

ANN = body_for("ann@example.com")


def html(answer):
    status, body = answer
    assert status == 200
    return json.loads(body)["html"]


def test_serves_and_ends(tmp_path):
    port = make_home(tmp_path)
    with running(tmp_path, port) as daemon:
        assert daemon.wait_for("self_signed_certificate")["level"] == "warning"
        assert daemon.wait_for("import")["rows"] == len(CUSTOMERS) - 1
        assert daemon.wait_for("serving")["addresses"] == [f"127.0.0.1:{port}"]
        assert "Ann Lee" in html(daemon.post(ANN))
        assert daemon.post(ANN.replace(b"ann", b"bnn"), sign(ANN))[0] == 403
        assert daemon.wait_for("request")["outcome"] == "found"
        assert daemon.wait_for("request")["outcome"] == "bad_signature"
        assert daemon.stop() == 0
        assert [line["event"] for line in daemon.seen[-2:]] == ["stopping", "stopped"]


def test_without_a_config(tmp_path):
    port = make_home(tmp_path)
    flags = ["--customers", tmp_path / "customers.csv", "--secret-file", tmp_path / "secret"]
    with running(tmp_path, port, *map(str, flags), "--listen", f"127.0.0.1:{port}") as daemon:
        daemon.wait_for("serving")
        (tmp_path / "state").symlink_to(tmp_path / ".local/state/sidebard")
        assert "Ann Lee" in html(daemon.post(ANN))


def test_no_customers_yet(tmp_path):
    """It serves the card that says so, says why once, and finds the file when it comes."""
    port = make_home(tmp_path)
    (tmp_path / "customers.csv").unlink()
    with running(tmp_path, port) as daemon:
        assert "does not exist; put the file there" in daemon.wait_for("import_refused")["why"]
        daemon.wait_for("serving")
        assert "Customer list not loaded" in html(daemon.post(ANN))
        write_csv(tmp_path / "customers.csv")
        daemon.wait_for("snapshot")
        assert "Ann Lee" in html(daemon.post(ANN))
        daemon.stop()
        assert [line["event"] for line in daemon.seen].count("import_refused") == 1


def test_a_new_file_is_seen(tmp_path):
    port = make_home(tmp_path)
    with running(tmp_path, port) as daemon:
        daemon.wait_for("serving")
        assert "Pro" in html(daemon.post(ANN))
        rows = [*CUSTOMERS[:1], ("ann@example.com", "Ann Lee", "Enterprise"), *CUSTOMERS[2:]]
        write_csv(tmp_path / "new.csv", rows).rename(tmp_path / "customers.csv")
        daemon.wait_for("snapshot")
        assert "Enterprise" in html(daemon.post(ANN))
    with running(tmp_path, port) as daemon:  # the next start has the snapshot, and does not read the file again
        daemon.wait_for("serving")
        assert "Enterprise" in html(daemon.post(ANN))
        daemon.stop()
        assert "import" not in [line["event"] for line in daemon.seen]


def test_a_running_request_is_finished(tmp_path):
    port = make_home(tmp_path)
    head = f"POST /helpscout HTTP/1.1\r\nHost: x\r\nX-HelpScout-Signature: {sign(ANN).decode()}\r\n"
    with running(tmp_path, port) as daemon:
        daemon.wait_for("serving")
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with daemon.client().wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            connection.sendall(f"{head}Content-Length: {len(ANN)}\r\n\r\n".encode() + ANN[:10])
            daemon.post(ANN)  # answered after the first half above has been read
            daemon.process.terminate()
            assert daemon.wait_for("stopping")["running"] == 1
            connection.sendall(ANN[10:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert daemon.stop() == 0


def start(*arguments, home):
    return subprocess.run(
        [sys.executable, "-m", "appliance", "serve", *map(str, arguments)],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
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
    assert "sidebard.toml:12: app[0].secrets" in fault
    assert why in fault


def test_port_in_use(tmp_path):
    port = make_home(tmp_path)
    with socket.create_server(("127.0.0.1", port)):
        sentence = refuse_last(start("--config", tmp_path / "sidebard.toml", home=tmp_path))
    assert sentence.startswith(f"127.0.0.1:{port}: cannot listen there: Address already in use; ")


def refuse_last(result):
    (sentence,) = refuse(result, 3)
    return sentence


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        (None, "key", "server.crt: tls.certificate cannot be read: No such file"),
        ("certificate", None, "server.key: tls.key cannot be read: No such file"),
        ("text", "key", "is not a PEM file"),
        ("certificate", "other key", "do not belong together"),
        ("certificate", "encrypted", "is encrypted; write it without a pass phrase"),
    ],
)
def test_unusable_certificate(certificate, key, why, tmp_path):
    make_home(tmp_path, CONFIG + '[tls]\ncertificate = "server.crt"\nkey = "server.key"\n')
    for name, content in (("server.crt", certificate), ("server.key", key)):
        if content is not None:
            (tmp_path / name).write_bytes(PEMS[content]())
    assert why in refuse_last(start("--config", tmp_path / "sidebard.toml", home=tmp_path))


def issue(part):
    from cryptography.hazmat.primitives import serialization

    from tests.server import make_issued

    issued = make_issued()
    if part == "encrypted":
        loaded = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        return loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hush"),
        )
    return issued.private_key_pem.bytes() if part == "key" else issued.cert_chain_pems[0].bytes()


PEMS = {
    "certificate": lambda: issue("certificate"),
    "key": lambda: issue("key"),
    "other key": lambda: issue("key"),
    "encrypted": lambda: issue("encrypted"),
    "text": lambda: b"hello",
}


def test_state_folder_that_cannot_be_made(tmp_path):
    make_home(tmp_path)
    (tmp_path / "state").write_text("a file")
    sentence = refuse_last(start("--config", tmp_path / "sidebard.toml", home=tmp_path))
    assert sentence.startswith(f"{tmp_path}/state: the state folder cannot be used: ")


def test_nothing_of_a_customer_in_any_line(tmp_path):
    """Bad rows, strangers, forged requests: no word of the customers, the messages or the secret is logged."""
    port = make_home(tmp_path, CONFIG.replace("[admin]", 'max_bad_rows = "60%"\n[admin]'))
    write_csv(
        tmp_path / "customers.csv", [*CUSTOMERS, ("needle", "Needle Name", "x"), ("needle@example.com", "two cells")]
    )
    with running(tmp_path, port) as daemon:
        daemon.wait_for("serving")
        for emails in (["ann@example.com"], ["needle@example.com"], []):
            daemon.post(body_for(*emails, user={"fname": "Needle"}))
            daemon.post(body_for(*emails), sign(ANN, "forged"))
        daemon.stop()
        text = json.dumps(daemon.seen)
    words = {word for row in CUSTOMERS[1:] for cell in row for word in (cell, *cell.split())}
    words |= {"eedle", "example.com", SECRET, sign(ANN).decode(), "two cells"}
    assert [word for word in words if word in text] == []
