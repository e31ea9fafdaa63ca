"""A protocol that the product does not know, added by one file and one registry line, works everywhere."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from pathlib import Path

import pytest

from appliance.outcomes import Outcome
from appliance.preview.examples import DataState
from appliance.sidebar.protocols import PROTOCOLS
from tests import commands
from tests.daemon import Daemon
from tests.factory import sign
from tests.preview.live import CONFIG, write_files
from tests.preview.test_session import opened
from tests.sidebar.toy_protocol import Toy

PROGRAM = (sys.executable, "-W", "error", "-m", "tests.sidebar.toy_protocol")
APP = 'protocol = "toy"\n'
run = functools.partial(commands.run, program="tests.sidebar.toy_protocol")


def ask(daemon: Daemon, body: bytes, **headers: str) -> tuple[int, str, bytes]:
    with contextlib.closing(daemon.connect()) as connection:
        connection.request("POST", "/helpscout", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


def test_a_protocol_is_one_file_and_one_line(tmp_path: Path) -> None:
    with Daemon(tmp_path, app=APP, program=PROGRAM) as daemon:
        daemon.wait_for("serving")
        body = b"nobody@example.com\nann@example.com"
        seal = sign(body).decode()

        # Served over a socket, cached by what it asks, refused without its own header.
        for cache in ("miss", "hit"):
            status, content_type, text = ask(daemon, body, **{"X-Toy-Seal": seal})
            assert (status, content_type) == (200, "text/html; charset=utf-8")
            assert text.startswith(b"<toy><h4>Ann Lee</h4>")
            line = daemon.wait_for("request")
            assert (line["outcome"], line["cache"]) == ("found", cache)
        assert ask(daemon, body, **{"X-HelpScout-Signature": seal})[0] == 403
        odd = b"\xff"
        assert ask(daemon, odd, **{"X-Toy-Seal": sign(odd).decode()})[0] == 400
        assert daemon.wait_for("wrong_signature")["cause"] == "missing"

        # Signed and verified, shown as a card.
        config = ("--config", daemon.config)
        assert run("sign", *config, stdin=body).stdout.decode().strip() == seal
        assert run("sign", *config, "--header", stdin=body).stdout.decode().strip() == f"X-Toy-Seal: {seal}"
        assert run("sign", *config, "--verify", seal, stdin=body).returncode == 0
        assert run("card", *config, "ann@example.com", "--response").stdout == text
        assert run("card", *config, "ann@example.com").stdout.startswith(b"Ann Lee\n")

        # Replayed, and each answer compared with the one made here.
        corpus = tmp_path / "corpus"
        corpus.write_bytes(run("requests", *config, "--count", "20").stdout)
        assert json.loads(corpus.read_text().splitlines()[0])["header"] == "X-Toy-Seal"
        url = f"https://127.0.0.1:{daemon.port}/helpscout"
        replayed = run(
            "replay",
            corpus,
            "--url",
            url,
            "--insecure",
            "--duration",
            "200ms",
            "--rate",
            "50",
            *config,
            "--compare",
            "--json",
        )
        result = json.loads(replayed.stdout)
        assert (replayed.returncode, result["answered"] > 5) == (0, True), (
            result["faults"],
            result["wrong"],
            result["failures"],
            result["statuses"],
        )

        # Checked, over the network too.
        checked = run("check", *config, "--self", url, "--insecure")
        assert (checked.returncode, b"it answers correctly" in checked.stdout) == (0, True), checked.stdout
        assert daemon.stop() == 0
        daemon.rest()


def test_the_preview_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, Toy.name, Toy)
    write_files(tmp_path)
    (tmp_path / "sidebard.toml").write_text(CONFIG.replace("[[app]]", '[[app]]\nprotocol = "toy"'))
    with opened(tmp_path) as session:
        example = session.state.examples[0]
        assert example.body == "sam.stranger@nowhere.example"
        answer = session.answer(b"ann@example.com", DataState.LIVE)
        assert (answer.outcome, answer.html) == (Outcome.FOUND, "<h4>Ann Lee</h4>\n")
        assert answer.text == f"<toy>{answer.html}</toy>"


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            'protocol = "toys"',
            'app[0].protocol: is not one of the choices (got "toys"); write one of "helpscout", "toy"',
        ),
        (APP + 'vary = ["user.role"]', 'app[0].vary[0]: is not one of the choices (got "user.role"); remove it'),
        (APP + "[app.page]", "app[0].page: is not for this protocol; remove it, or use protocol helpscout"),
    ],
    ids=["no such protocol", "a name that it does not know", "a page that it does not have"],
)
def test_what_only_a_protocol_knows_is_checked_with_its_line(tmp_path: Path, keys: str, sentence: str) -> None:
    config = tmp_path / "sidebard.toml"
    config.write_text(f'[customers]\nsource = "c.csv"\naddresses = ["email"]\n[[app]]\nsecrets = ["file:s"]\n{keys}\n')
    refused = run("sign", "--config", config)
    line = len(config.read_text().splitlines())
    assert (refused.returncode, f"{config}:{line}: {sentence}" in refused.stderr.decode()) == (78, True), refused.stderr
