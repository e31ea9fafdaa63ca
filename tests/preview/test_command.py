"""`sidebard preview`, as an operator types it."""

import json
import re
import urllib.error
import urllib.request

import pytest

from appliance.preview.server import ENDING
from tests.commands import run
from tests.daemon import until
from tests.preview.live import preview, write_files


def ask(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def customers(running):
    """Return the names, once there are any: the address is printed before the data is read."""
    return until(lambda: [one["name"] for one in json.loads(ask(running.url.replace("/preview", "/customers")))])


@pytest.mark.parametrize("number", ENDING)
def test_it_leaves_nothing_even_before_it_serves(tmp_path, number):
    with preview("--customers", "conf/customers.csv", "--no-browser", TMPDIR=str(tmp_path)) as running:
        assert running.stop(number) == 0
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", ENDING)
def test_it_prints_its_address_and_ends_with_0(tmp_path, number):
    with preview("--customers", "conf/customers.csv", "--no-browser", TMPDIR=str(tmp_path)) as running:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/preview", running.url)
        assert b"sidebard preview" in ask(running.url)
        assert "Ada Lovelace" in customers(running)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(re.sub(r"/[\w-]{32}/", "/x/", running.url))
        assert running.stop(number) == 0
        assert list(tmp_path.iterdir()) == []


def test_it_ends_while_a_page_is_open():
    with preview("--customers", "conf/customers.csv", "--no-browser") as running:
        customers(running)
        with urllib.request.urlopen(running.url.replace("/preview", "/events"), timeout=20) as events:
            assert events.readline().startswith(b"data: {")
            assert running.stop() == 0


def test_the_operators_files_are_only_read(tmp_path):
    write_files(tmp_path)
    before = {file.name: file.stat() for file in tmp_path.iterdir()}
    with preview("--config", tmp_path / "sidebard.toml", "--no-browser") as running:
        assert "Ann Lee" in customers(running)
        assert running.stop() == 0
    after = {file.name: file.stat() for file in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert [status.st_mtime_ns for status in after.values()] == [status.st_mtime_ns for status in before.values()]


def test_the_browser_is_told_the_address_in_a_file_that_only_its_user_can_read(tmp_path):
    """A command line can be read by everybody on the machine."""
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\ncp "${{1#file://}}" {tmp_path}/file\necho "$1" > {tmp_path}/argument\n')
    script.chmod(0o755)
    environ = {"DISPLAY": ":99", "BROWSER": f"{script} %s", "TMPDIR": str(tmp_path)}
    with preview("--customers", "conf/customers.csv", **environ) as running:
        argument = until(lambda: (tmp_path / "argument").exists() and (tmp_path / "argument").read_text())
        assert argument == f"file://{next(tmp_path.glob('sidebard-preview-*'))}/open.html\n"
        assert next(tmp_path.glob("sidebard-preview-*")).stat().st_mode & 0o777 == 0o700
        assert f"url={running.url}" in (tmp_path / "file").read_text()
        assert running.stop() == 0


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "unix:/tmp/preview", "elsewhere", "[::1]"])
def test_it_listens_on_loopback_alone(listen):
    result = run("preview", "--customers", "conf/customers.csv", "--no-browser", "--listen", listen)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"--listen: " in result.stderr


def test_a_port_that_is_taken_is_said():
    with preview("--customers", "conf/customers.csv", "--no-browser") as running:
        (taken,) = re.findall(r"127\.0\.0\.1:\d+", running.url)
        flags = ("--customers", "conf/customers.csv", "--no-browser", "--listen", taken)
        result = run("preview", *flags, HOME="/nonexistent")
    assert (result.returncode, result.stdout) == (3, b"")
    assert f"{taken}: cannot listen: Address already in use; choose another with --listen" in result.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--config", "/nowhere.toml"], 78, "/nowhere.toml: cannot be read"),
        (["--config", "x", "--customers", "y"], 2, "--config cannot be combined with --customers"),
        (["--customers", "conf/customers.csv", "--app", "other"], 2, 'there is no app "other"'),
    ],
    ids=["no config", "config and customers", "no such app"],
)
def test_wrong_usage(arguments, code, sentence):
    result = run("preview", "--no-browser", *arguments, HOME="/nonexistent")
    assert (result.returncode, result.stdout) == (code, b"")
    assert sentence in result.stderr.decode()
