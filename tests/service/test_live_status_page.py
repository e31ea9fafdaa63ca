"""The status page of the whole service."""

from __future__ import annotations

from pathlib import Path

from tests.daemon import Daemon


def test_shows_the_service_as_it_is(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        daemon.ask("nobody@example.com")
        status, told, _headers = daemon.admin("/healthz")
        assert (status, "Help Scout does not accept it" in told) == (200, True)
        status, page, headers = daemon.admin("/")
        assert status == 200
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "Needs attention" in page
        names = "localhost, 127.0.0.1, ::1"
        assert f"certificate for {names} is self-signed by sidebard, so Help Scout does not accept it; " in page
        assert '<th scope="row">found</th><td>0</td><td>1</td>' in page  # counted before the second look
        assert '<th scope="row">workers ready</th><td>2 of 2</td>' in page
        assert '<th scope="row">localhost, 127.0.0.1, ::1</th>' in page
        assert "example.com" not in page
