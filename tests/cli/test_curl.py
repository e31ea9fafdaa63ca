"""The curl line for a service on this machine works as it is pasted, whatever name its certificate is for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import trustme

from appliance.cli.curl import reach
from tests.checks.running import settings
from tests.cli.in_process import run
from tests.daemon import Daemon
from tests.edge.test_tls import BETWEEN, Issued, leaf, write

TLS = 'certificate = "a.crt"\nkey = "a.key"'
BODY = b'{"customer":{"email":"ann@example.com"}}'


@pytest.mark.parametrize(
    ("url", "names", "options", "reached"),
    [
        (
            "https://127.0.0.1:8443/h",
            ["support.example.com"],
            ["--resolve", "support.example.com:8443:127.0.0.1"],
            "https://support.example.com:8443/h",
        ),
        (
            "https://127.0.0.1/h",
            ["support.example.com"],
            ["--resolve", "support.example.com:443:127.0.0.1"],
            "https://support.example.com/h",
        ),
        (
            "https://[::1]:8443/h",
            ["support.example.com"],
            ["--resolve", "support.example.com:8443:[::1]"],
            "https://support.example.com:8443/h",
        ),
        (
            "https://localhost:8443/h",
            ["support.example.com"],
            ["--resolve", "support.example.com:8443:127.0.0.1"],
            "https://support.example.com:8443/h",
        ),
        (
            "https://127.0.0.1:8443/h",
            ["*.example.com"],
            ["--resolve", "sidebard.example.com:8443:127.0.0.1"],
            "https://sidebard.example.com:8443/h",
        ),
        ("https://localhost:8443/h", ["support.example.com", "localhost"], [], "https://localhost:8443/h"),
        ("https://127.0.0.1:8443/h", [], [], "https://127.0.0.1:8443/h"),
    ],
)
def test_a_certificate_for_another_name(
    url: str, names: list[str], options: list[str], reached: str, tmp_path: Path
) -> None:
    write(tmp_path, leaf(names=names), BETWEEN)
    found, to = reach(settings(tmp_path, tls=TLS), url)
    assert (found, to) == ([*options, "--cacert", f"{tmp_path}/a.crt"], reached)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/h", "https://support.example.com/h", "https://192.0.2.1/h"])
def test_any_other_url_is_left_alone(url: str, tmp_path: Path) -> None:
    write(tmp_path, leaf(), BETWEEN)
    assert reach(settings(tmp_path, tls=TLS), url) == ([], url)


def test_a_trusted_certificate_needs_no_more_than_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Issued("known")
    (tmp_path / "known.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/known.pem")
    between = Issued("of known", authority)
    write(tmp_path, Issued("x.example", between, names=["x.example"]), between)
    options, _url = reach(settings(tmp_path, tls=TLS), "https://127.0.0.1/h")
    assert options == ["--resolve", "x.example:443:127.0.0.1"]


def test_a_certificate_that_cannot_be_read_is_for_check_to_tell(tmp_path: Path) -> None:
    assert reach(settings(tmp_path, tls=TLS), "https://127.0.0.1/h") == ([], "https://127.0.0.1/h")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("own", [False, True], ids=["made here", "one's own"])
def test_it_works_as_pasted(own: bool, tmp_path: Path) -> None:
    config = ""
    if own:
        issued = trustme.CA().issue_cert("support.example.com")
        (tmp_path / "a.key").write_bytes(issued.private_key_pem.bytes())
        (tmp_path / "a.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        config = f'[tls]\ncertificate = "{tmp_path}/a.crt"\nkey = "{tmp_path}/a.key"'
    with Daemon(tmp_path, config=config) as daemon:
        daemon.wait_for("serving")
        daemon.healthy()
        url = f"https://127.0.0.1:{daemon.port}/helpscout"
        line = run("sign", "--curl", url, "--config", daemon.config, stdin=BODY, HOME=str(tmp_path)).stdout.decode()
        answer = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=False, timeout=60)
        assert daemon.stop() == 0
    assert b"Ann Lee" in answer.stdout, answer.stderr
