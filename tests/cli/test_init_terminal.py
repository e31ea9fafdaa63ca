"""`sidebard init` on a terminal: five questions, wrong answers asked again, Ctrl-C at any of them."""

import os
import sys
from pathlib import Path

import pexpect
import pytest

from appliance.bootstrap.settings import load
from tests.daemon import ROOT, until

ANSWERS = (
    ("Customers .*customers.csv.: ", "customers.csv"),
    ("Name of this server.*: ", "sidebar.example.com"),
    (r"Certificate .acme, later, or a PEM file. \[acme\]: ", "later"),
    (r"Card .built-in, .*saas.* \[built-in\]: ", ""),
    (r"Status page .*127.0.0.1:9180.: ", "127.0.0.1:9999"),
)


@pytest.fixture
def terminal(tmp_path):
    (tmp_path / "customers.csv").write_bytes(b"Name,Mail\nAnn,ann@example.com\n")
    child = pexpect.spawn(
        sys.executable,
        ["-W", "error", "-m", "appliance", "init"],
        cwd=str(tmp_path),
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home"), "TERM": "dumb"},
        timeout=30,
        encoding="utf-8",
        dimensions=(50, 200),
    )
    yield child
    child.close(force=True)


def reply(terminal, answers):
    for question, answer in answers:
        terminal.expect(question)
        terminal.sendline(answer)


def test_the_answers_are_in_the_config(terminal, tmp_path):
    reply(terminal, ANSWERS)
    terminal.expect("The card of the first customer, ann@example.com:")
    terminal.expect("Callback URL  https://sidebar.example.com/helpscout")
    secret = (tmp_path / "secret").read_text().strip()
    terminal.expect_exact(f"Secret key    {secret}")
    config = tmp_path / "sidebard.toml"  # port 443 is root's, who has a config of the package's
    command = "sidebard serve" if os.geteuid() == 0 else f"sudo sidebard serve --config {config}"
    terminal.expect_exact(f"Next: {command}\r\n")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0
    settings = load(tmp_path / "sidebard.toml", {"HOME": str(tmp_path)})
    assert (settings.customers.addresses, str(settings.admin.listen)) == (("Mail",), "127.0.0.1:9999")


def test_a_wrong_answer_is_asked_again(terminal):
    reply(terminal, [(ANSWERS[0][0], "nothing.csv")])
    terminal.expect("Error: .*nothing.csv")
    reply(terminal, [ANSWERS[0], (ANSWERS[1][0], "my server")])
    terminal.expect("Error: my server must be the name of a server; write, for example")
    reply(terminal, [ANSWERS[1], (ANSWERS[2][0], "nothing.pem")])
    terminal.expect("Error: nothing.pem is not a file")
    reply(terminal, [ANSWERS[2], (ANSWERS[3][0], "fancy")])
    terminal.expect("Error: fancy is neither an example nor a file")
    reply(terminal, [ANSWERS[3], (ANSWERS[4][0], "0.0.0.0:80")])
    terminal.expect("Error: 0.0.0.0:80 must be a loopback address")
    reply(terminal, [ANSWERS[4]])
    terminal.expect("Next: ")


@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_an_interrupt_at_any_question_leaves_nothing(terminal, number, tmp_path):
    reply(terminal, ANSWERS[:number])
    terminal.expect(ANSWERS[number][0])
    # Python does not see a signal that comes between its last look for one and read(2).
    until(
        lambda: Path(f"/proc/{terminal.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S", "a wait for input"
    )
    terminal.sendintr()
    terminal.expect("Aborted!")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 1
    assert [file.name for file in tmp_path.iterdir()] == ["customers.csv"]
