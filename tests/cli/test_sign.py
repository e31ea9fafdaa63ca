"""`sidebard sign`, as an operator types it."""

import subprocess

import pytest

from appliance.sidebar.protocols.query_signature import signed_parameters
from appliance.sidebar.protocols.signature import Secret, Verifier
from tests.cli.in_process import run
from tests.cli.test_commands import BODY, files
from tests.factory import SECRET, sign

__all__ = ["files"]  # a fixture


def test_sign(files):
    result = run("sign", "--secret-file", files / "secret", stdin=BODY, HOME="/nonexistent")
    assert result.stdout == sign(BODY) + b"\n"


def test_sign_a_file_with_the_config(files):
    (files / "body.json").write_bytes(BODY)
    result = run("sign", files / "body.json", "--header", "--config", files / "sidebard.toml", "--app", "freescout")
    assert result.stdout == b"X-FreeScout-Signature: " + sign(BODY, "another secret") + b"\n"


def test_sign_for_an_app_that_is_not_there(files):
    result = run("sign", "--config", files / "sidebard.toml", "--app", "x", stdin=BODY)
    assert result.returncode == 2
    assert 'no app "x"; the config has helpscout, freescout' in result.stderr.decode()


@pytest.mark.parametrize(("signature", "code"), [(sign(BODY), 0), (sign(BODY, "x"), 1), ("ä".encode(), 1)])
def test_verify(signature, code, files):
    result = run("sign", "--verify", signature.decode(), "--secret-file", files / "secret", stdin=BODY, HOME="/x")
    assert (result.returncode, result.stdout.startswith(b"valid")) == (code, code == 0)
    assert sign(BODY) not in result.stdout + result.stderr


def test_curl_quotes_for_the_shell(files):
    body = b"""{"customer":{"email":"o'neil@example.com"},"x":"$(touch /tmp/x) `a` \\" \\\\"}"""
    result = run(
        "sign", "--curl", "https://127.0.0.1:8443/h", "--secret-file", files / "secret", stdin=body, HOME=str(files)
    )
    shown = subprocess.run(
        ["/bin/sh", "-c", "curl() { printf '%s\\n' \"$@\"; }\n" + result.stdout.decode()],
        capture_output=True,
        check=True,
    )
    words = shown.stdout.decode().splitlines()
    assert words[-2:] == [body.decode(), "https://127.0.0.1:8443/h"]
    assert words[words.index("-w") + 1] == r"\n%{http_code}\n"
    assert f"X-HelpScout-Signature: {sign(body).decode()}" in words
    assert str(files / ".local/state/sidebard/self-signed/localhost.crt") in words


def test_curl_elsewhere_trusts_what_the_machine_trusts(files):
    (files / "body.json").write_bytes(BODY)
    result = run(
        "sign", files / "body.json", "--curl", "https://x.example/", "--secret-file", files / "secret", HOME="/x"
    )
    assert "--cacert" not in result.stdout.decode()
    assert f"@{files}/body.json" in result.stdout.decode()


@pytest.mark.parametrize(("content", "why"), [(None, "cannot be read"), ("", "is empty"), ("\n", "is empty")])
def test_no_secret(content, why, tmp_path):
    if content is not None:
        (tmp_path / "secret").write_text(content)
    result = run("sign", "--secret-file", tmp_path / "secret", stdin=BODY, HOME="/x")
    assert result.returncode == 78
    assert why in result.stderr.decode()


def with_page(files, more=""):
    config = files / "page.toml"
    config.write_text((files / "sidebard.toml").read_text().replace("[[app]]", f"[[app]]\npage = {{ {more} }}", 1))
    return config


@pytest.mark.parametrize(
    ("query", "own"),
    [
        ("customer-id=604417723&user-id=5", ""),
        ("tenant=acme&customer-id=604417723", 'own_parameters = ["tenant"]'),
        ("", ""),
    ],
    ids=["ids", "own parameter", "none"],
)
def test_a_page(query, own, files):
    url = f"https://sidebar.example/helpscout{query and '?'}{query}"
    result = run("sign", "--page", url, "--config", with_page(files, own))
    assert (result.returncode, result.stderr) == (0, b"")
    signed = result.stdout.decode().strip()
    assert signed.startswith(url)
    own_parameters = ["tenant"] if own else []
    verifier = Verifier([Secret(SECRET.encode())])
    assert signed_parameters(signed.partition("?")[2], verifier, own_parameters) is not None


def test_a_page_that_the_app_has_not(files):
    result = run("sign", "--page", "https://x.example/", "--config", files / "sidebard.toml")
    assert (result.returncode, result.stdout) == (2, b"")
    assert 'the app "helpscout" has no page; add [app.page]' in result.stderr.decode()


@pytest.mark.parametrize(("query", "why"), [("a=1&a=2", "a name twice"), ("a=%ff", "not UTF-8"), ("a=ä[", "")])
def test_a_query_that_is_not_help_scouts(query, why, files):
    result = run("sign", "--page", f"https://x.example/?{query}", "--config", with_page(files))
    assert (result.returncode, why in result.stderr.decode()) == (2 if why else 0, True)
