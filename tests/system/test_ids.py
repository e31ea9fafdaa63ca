"""Webhooks and pages while the steward and workers are killed: what is confirmed stays, and nobody else is shown."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.daemon import Daemon, until
from tests.factory import SECRET, sign, visit_for, write_csv

CUSTOMERS = 200
PAGE = HelpScoutPage([SECRET.encode()])


class Stream:
    """Sends webhooks one after the other, each about the next id, and looks at pages of those that were confirmed."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.confirmed: dict[int, int] = {}  # id -> the customer whose address was confirmed last
        self.sent: dict[int, int] = {}  # the same, of those that were sent and not confirmed
        self.looks = self.wrong = 0

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            customer, who = number % CUSTOMERS + 1, number % 7 + 1
            body = json.dumps(
                {
                    "id": customer,
                    "updatedAt": f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
                    "_embedded": {"emails": [{"value": f"c{who}@example.com"}]},
                }
            ).encode()
            self.sent[customer] = who
            headers = {"X-HelpScout-Event": "customer.updated", "X-HelpScout-Signature": sign(body).decode()}
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._ask("POST", "/helpscout", body, headers)[0] == 200:
                    self.confirmed[customer] = self.sent.pop(customer)
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.look(customer)

    def wait_for_more(self) -> None:
        """Wait until some more was confirmed and looked at."""
        before = len(self.confirmed) + self.looks
        until(lambda: len(self.confirmed) + self.looks > before + 20, "more of the stream", 60)

    def _ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, str]:
        with contextlib.closing(self._daemon.connect()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def look(self, customer: int) -> None:
        """Look at a page, and count it as wrong if it shows anybody but whom its id may name."""
        status, text = self._ask("GET", f"/helpscout?{visit_for(PAGE, customer_id=customer).body.decode()}")
        may = {self.sent.get(customer), self.confirmed.get(customer)} - {None}
        shown = {who for who in range(1, 8) if f"<h4>Customer {who}</h4>" in text}
        self.looks += 1
        self.wrong += status != 200 or not shown <= may or (bool(self.confirmed.get(customer)) and not shown)


def test_nothing_confirmed_is_lost_and_nobody_else_is_shown(tmp_path: Path, length: SimpleNamespace) -> None:
    write_csv(
        tmp_path / "customers.csv",
        [("email", "name"), *((f"c{who}@example.com", f"Customer {who}") for who in range(1, 8))],
    )
    with Daemon(tmp_path, workers=2, app="[app.page]", customers=False) as daemon:
        daemon.wait_for("serving")
        with Stream(daemon) as stream:
            for kill in range(length.id_kills):
                stream.wait_for_more()
                with contextlib.suppress(ProcessLookupError, IndexError):
                    os.kill(daemon.steward() if kill % 2 else daemon.workers()[0], signal.SIGKILL)
            stream.wait_for_more()
        assert len(stream.confirmed) > 20
        for customer in stream.confirmed:
            stream.look(customer)
        assert stream.wrong == 0
        assert daemon.stop() == 0
        daemon.rest()
