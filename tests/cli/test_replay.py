"""`sidebard requests` and `sidebard replay`, as an operator types them, with a real service."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.commands import run
from tests.coverage_env import COVERAGE
from tests.daemon import ROOT, Daemon, alive, children, until
from tests.factory import SECRET, body_for, sign, write_csv
from tests.ports import free_port
from tests.replay.peer import GOOD, answers, peer
from tests.service.test_log import metric

HOME: dict[str, Any] = {"HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with a corpus beside its config."""
    folder = tmp_path_factory.mktemp("service")
    with Daemon(folder, config="[log]\nrequests = false") as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        made = run("requests", "--config", daemon.config, "--count", 300)
        assert (made.returncode, made.stderr) == (0, b"")
        (folder / "corpus.jsonl").write_bytes(made.stdout)
        yield daemon
        assert daemon.stop() == 0
        assert {line["event"] for line in daemon.rest()} <= {"stopping", "stopped", "wrong_signature"}


def replay(daemon, *arguments, file="corpus.jsonl", url="https://localhost:{}/helpscout", **more):
    ca = daemon.folder / "state" / "self-signed" / "localhost.crt"
    given = ["--url", url.format(daemon.port), "--duration", "0.2", *arguments]
    if "--insecure" not in arguments and url.startswith("https"):
        given += ["--ca", ca]
    return run("replay", daemon.folder / file if file != "-" else "-", *given, **{**HOME, **more})


# requests


def test_requests_by_flags(tmp_path):
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text(SECRET)
    flags = ("--customers", tmp_path / "customers.csv", "--secret-file", tmp_path / "secret", "--count", 50)
    first, again, other = (run("requests", *flags, "--seed", seed, HOME=str(tmp_path)) for seed in (1, 1, 2))
    assert first.stdout == again.stdout != other.stdout
    lines = [json.loads(line) for line in first.stdout.splitlines()]
    assert len(lines) == 50
    assert {tuple(line) for line in lines} == {("path", "body", "signature", "expect")}
    assert all(line["signature"] == sign(line["body"].encode()).decode() for line in lines)


def test_requests_of_another_app(tmp_path):
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text("another secret")
    (tmp_path / "sidebard.toml").write_text(
        '[server]\nstate = "state"\n[customers]\nsource = "customers.csv"\naddresses = ["email"]\n'
        '[[app]]\nsecrets = ["env:NONE"]\n[[app]]\nname = "freescout"\npath = "/freescout"\n'
        'signature_header = "X-FreeScout-Signature"\nsecrets = ["file:secret"]\n'
    )
    made = run("requests", "--config", tmp_path / "sidebard.toml", "--app", "freescout", "--count", 1)
    line = json.loads(made.stdout)
    assert (line["path"], line["header"]) == ("/freescout", "X-FreeScout-Signature")
    assert line["signature"] == sign(line["body"].encode(), "another secret").decode()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["requests", "--unknown", "0.1"], 2, "write a percentage from 0% to 100%"),
        (["requests", "--count", "0"], 2, "--count"),
        (["requests", "--customers", "x.csv"], 2, "--customers requires --secret-file"),
        (["requests", "--customers", "x.csv", "--secret-file", "conf/demo-secret"], 1, "x.csv does not exist; put"),
        (["replay", "none.jsonl", "--url", "https://x.example"], 2, "none.jsonl: No such file or directory"),
        (["replay", "/dev/null", "--url", "https://x.example"], 2, "/dev/null:1: contains no request; make some"),
        (["replay", "conf/customers.csv", "--url", "https://x.example"], 2, "conf/customers.csv:1: is not a request"),
        (["replay", "-"], 2, "--url"),
        (
            ["replay", "-", "--url", "ftp://x.example"],
            2,
            "must be a URL such as https://support.example.com/helpscout.",
        ),
        (["replay", "-", "--url", "https://x.example", "--ca", "f", "--insecure"], 2, "cannot be combined"),
        (["replay", "-", "--url", "http://x.example", "--resume"], 2, "--resume requires an https:// URL"),
        (["replay", "-", "--url", "https://x.example", "--config", "f"], 2, "require --compare"),
        (["replay", "-", "--url", "https://x.example", "--rate", "0"], 2, "--rate"),
        (["replay", "-", "--url", "https://x.example", "--compare", "--config", "none"], 78, "none"),
        (["replay", "-", "--url", "https://x.example", "--ca", "none"], 2, "--ca: none cannot be read: No such file"),
        (["replay", "-", "--url", "https://x.example", "--ca", "Makefile"], 2, "--ca: Makefile is not a PEM file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done(arguments, code, sentence, tmp_path):
    result = run(*arguments, stdin=b'{"body":"x"}', HOME=str(tmp_path))
    assert (result.returncode, result.stdout) == (code, b"")
    assert sentence in result.stderr.decode()


def test_nothing_there(tmp_path):
    url = f"https://127.0.0.1:{free_port()}"
    result = run("replay", "-", "--url", url, stdin=b'{"body":"x"}', **HOME)
    assert result.returncode == 1
    assert result.stderr.decode() == (
        f"{url} cannot be reached: Connection refused; start the service, or correct --url\n"
    )


# replay


@pytest.mark.parametrize(
    "flags",
    [(), ("--rate", "200"), ("--close",), ("--resume", "--rate", "50"), ("--processes", "2"), ("--insecure",)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_good_service(service, flags):
    result = replay(service, "--json", *flags)
    assert (result.returncode, result.stderr) == (0, b"")
    figures = json.loads(result.stdout)
    assert figures["statuses"] == {"200": figures["answered"]}
    assert (figures["wrong"], figures["failures"], figures["faults"]) == ({}, {}, [])
    assert figures["answered"] > 0
    assert figures["processes"] == (2 if "--processes" in flags else max(1, (os.cpu_count() or 1) // 2))


@pytest.mark.parametrize("rate", [(), ("--rate", "300")], ids=["closed", "open"])
def test_every_answer_is_what_this_config_gives(service, rate):
    result = replay(service, "--compare", "--config", service.config, "--processes", "2", *rate)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "\nwrong         0\n" in result.stdout.decode() or "\nwrong        0\n" in result.stdout.decode()


def test_what_is_refused_is_compared_too(service):
    lines = [
        {"body": "x"},
        {"body": "x", "signature": sign(b"x").decode()},
        {"body": "{}", "signature": sign(b"{}").decode(), "header": "X-Other"},
        {"path": "/elsewhere", "body": "x"},
        {"path": "/helpscout?a=b", "body": "{}", "signature": sign(b"{}").decode()},
        {"body_base64": "/w==", "signature": sign(b"\xff").decode()},
        {"body": " " * 300_000, "signature": sign(b" " * 300_000).decode()},
    ]
    text = "\n".join(map(json.dumps, lines)).encode()
    flags = ("--compare", "--config", service.config, "--json", "--connections", "1")
    result = replay(service, *flags, file="-", stdin=text)
    figures = json.loads(result.stdout)
    assert (figures["wrong"], figures["failures"], result.returncode) == ({}, {}, 0)
    assert {"403", "400", "404", "413", "200"} == set(figures["statuses"])


def test_other_customers_are_noticed(service, tmp_path):
    """The same secret, but a customer's plan is another: only her card is wrong."""
    write_csv(tmp_path / "customers.csv", [("email", "name", "plan"), ("ann@example.com", "Ann Lee", "Gone")])
    line = json.dumps(
        {"body": body_for("ann@example.com").decode(), "signature": sign(body_for("ann@example.com")).decode()}
    )
    flags = ("--compare", "--customers", tmp_path / "customers.csv", "--secret-file", service.folder / "secret")
    result = replay(service, *flags, file="-", stdin=line.encode())
    assert result.returncode == 1
    shown = result.stdout.decode()
    assert "FAULT: wrong: another body than this config and these customers give: " in shown
    assert "times, the first to line 1; it has other customers or another card; compare its config, and reload" in shown
    assert re.search(r'first difference at byte \d+: received "Pro<.*", expected "Gone<', shown)
    assert "Ann" not in shown


def test_a_wrong_status(service):
    body = body_for("ann@example.com").decode()
    result = replay(service, file="-", stdin=json.dumps({"body": body, "signature": "x", "expect": 200}).encode())
    assert result.returncode == 1
    assert "FAULT: wrong: status 403 where 200 was expected: " in result.stdout.decode()
    assert "times, the first to line 1\n" in result.stdout.decode()


def test_too_slow(service):
    result = replay(service, "--max-p99", "0.0001")
    assert result.returncode == 1
    assert "ms, over the 0.0001 ms of --max-p99" in result.stdout.decode()
    assert replay(service, "--max-p99", "60000").returncode == 0


def test_plain_http_to_a_tls_port(service):
    result = replay(service, url="http://127.0.0.1:{}/helpscout")
    assert result.returncode == 1
    assert "FAULT: wrong: status 400 where 200 was expected" in result.stdout.decode()


@pytest.mark.parametrize(
    "flags",
    [(), ("--close",), ("--resume",), ("--rate", "5"), ("--json",), ("--processes", "3")],
    ids=lambda flags: " ".join(flags) or "closed loop",
)
def test_a_certificate_that_is_not_trusted_ends_it_at_once(service, flags):
    url = f"https://localhost:{service.port}"
    result = run("replay", service.folder / "corpus.jsonl", "--url", url, "--duration", "10m", *flags, **HOME)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode() == (
        f"{url} cannot be tested: the first connections all failed: certificate not trusted;"
        " pass its authority's certificate with --ca, or skip verification with --insecure\n"
    )


def test_a_name_that_nobody_has(service, tmp_path):
    result = replay(service, "--report", tmp_path / "report.html", url="https://nobody.invalid:{}")
    assert not (tmp_path / "report.html").exists()
    assert (result.returncode, result.stdout) == (1, b"")
    assert re.fullmatch(r"https://nobody.invalid:\d+ cannot be reached: [^;]+; start the service, or correct --url\n",
                        result.stderr.decode())  # fmt: skip


def closes(connection, _count):
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("way", "scheme", "sentence"),
    [
        (closes, "http", "the first requests all failed: closed without an answer; correct http:// or https://"),
        (
            answers(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "http",
            "all failed: what came is not HTTP; correct the port, or begin",
        ),
        (
            answers(),
            "https",
            "the first connections all failed: no TLS there; correct the port, or begin",
        ),
    ],
    ids=["closes", "no HTTP", "no TLS"],
)
@pytest.mark.parametrize("rate", [(), ("--rate", "100"), ("--close",)], ids=["closed loop", "open loop", "close"])
def test_what_cannot_work_ends_it_soon(way, scheme, sentence, rate):
    with peer(way) as here:
        url = f"{scheme}://127.0.0.1:{here.port}"
        flags = ("--duration", "2s" if scheme == "http" else "10m", "--insecure", *rate)
        result = run("replay", "-", "--url", url, *flags, stdin=b'{"body":"x"}', **HOME)
    assert (result.returncode, result.stdout) == (1, b"")
    assert f"{url} cannot be tested: " in result.stderr.decode()
    assert sentence in result.stderr.decode()


def test_one_answer_is_enough_to_go_on():
    """Failures later are figures of the run, and not its end."""
    answered = []

    def answers_once(connection, _count):
        if not answered:
            answered.append(connection.sendall(GOOD))
        else:
            connection.shutdown(socket.SHUT_RDWR)

    with peer(answers_once) as here:
        flags = ("--url", f"http://127.0.0.1:{here.port}", "--duration", "500ms", "--connections", "2")
        result = run("replay", "-", *flags, stdin=b'{"body":"x"}', **HOME)
    assert (result.returncode, result.stderr) == (1, b"")
    assert "FAULT: failed: closed without an answer" in result.stdout.decode()


@pytest.mark.parametrize("text", ["0.2", "200ms", "0.2s", "0.002m"])
def test_durations_are_written_as_in_the_config(service, text):
    figures = json.loads(replay(service, "--json", "--duration", text, "--rate", "100").stdout)
    assert figures["planned"] in (12, 20)


@pytest.mark.parametrize(("text", "limit"), [("60000", 60_000), ("60s", 60_000), ("1m", 60_000), ("0.5m", 30_000)])
def test_a_limit_is_a_duration_too(service, text, limit):
    assert json.loads(replay(service, "--json", "--max-p99", text).stdout)["limit"] == limit


@pytest.mark.parametrize("option", ["--duration", "--max-p99"])
@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "1 s", "1e3", "inf", "nan", "10min", "5.", "s", "1h30m", "²"])
def test_a_bad_duration_is_one_sentence(option, text):
    result = run("replay", "-", "--url", "https://x.example", option, text, **HOME)
    assert (result.returncode, result.stdout) == (2, b"")
    bare = "seconds" if option == "--duration" else "milliseconds"
    (line,) = [line for line in result.stderr.decode().splitlines() if line.startswith("Error")]
    assert f"'{option}': it must be " in line
    assert f"; write a number and its unit, such as 500ms, 30s, 10m or 1h; a bare number is in {bare}." in line


def test_a_report(service, tmp_path):
    result = replay(service, "--report", tmp_path / "report.html", "--rate", "100")
    assert result.returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == 3
    refused = replay(service, "--report", tmp_path / "none" / "report.html")
    assert refused.returncode == 2
    assert b"report.html: No such file or directory" in refused.stderr
    assert refused.stdout == b""  # at once, and not after the run


def test_a_report_for_which_there_is_no_room_does_not_take_the_result_along(service):
    result = replay(service, "--report", "/dev/full", "--json")
    assert json.loads(result.stdout)["faults"] == []
    assert (result.returncode, result.stderr) == (
        1,
        b"/dev/full: No space left on device; the report was not written\n",
    )


def test_a_terminal_shows_a_bar_and_figures(service):
    arguments = f"-m appliance replay {service.folder}/corpus.jsonl --insecure --duration 0.4 --rate 100"
    shown = subprocess.run(
        ["script", "-qec", f"{sys.executable} {arguments} --url https://127.0.0.1:{service.port}", "/dev/null"],
        capture_output=True,
        cwd=ROOT,
        env={**COVERAGE, "PATH": "/usr/bin:/bin", "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "150"},
        timeout=60,
        check=True,
    ).stdout.decode()
    assert "of 0.4 s" in shown
    assert "wrong 0  failed 0" in shown
    assert "latency over time" in shown


@pytest.fixture
def endless(service):
    """A replay by two processes that has begun and does not end by itself."""
    corpus, url = service.folder / "corpus.jsonl", f"https://127.0.0.1:{service.port}"
    flags = ["--insecure", "--duration", "600", "--processes", "2", "--url", url]
    before = metric(service, "requests_total")
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "replay", str(corpus), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    until(lambda: metric(service, "requests_total") > before + 20, "some answers")
    yield process
    process.kill()
    process.communicate(timeout=30)


@pytest.mark.parametrize("interrupt", [os.kill, os.killpg], ids=["the first process", "all, as a terminal does"])
def test_an_interrupt_ends_it_with_what_there_is(interrupt, endless):
    interrupt(endless.pid, signal.SIGINT)
    shown, errors = endless.communicate(timeout=30)
    assert (endless.returncode, errors) == (1, b"")
    assert "FAULT: interrupted" in shown.decode()
    assert "statuses     200: " in shown.decode()


def test_a_process_that_is_killed_ends_it(endless):
    victim, other = children(endless.pid)
    os.kill(victim, signal.SIGKILL)
    shown, errors = endless.communicate(timeout=30)
    assert (endless.returncode, shown) == (1, b"")
    assert "a process of the load test died" in errors.decode()
    until(lambda: not alive(other), "the end of the other")


def test_nothing_is_left_of_one_that_is_killed(endless):
    processes = children(endless.pid)
    assert len(processes) == 2
    endless.kill()
    until(lambda: not any(map(alive, processes)), "their end")
