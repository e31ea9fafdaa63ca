"""docs/helpscout.md word for word: its config answers a legacy message, a page and a webhook at its one URL."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.commands import run
from tests.daemon import ROOT, Daemon
from tests.factory import SECRET, body_for, sign, write_csv

TEXT = (ROOT / "docs/helpscout.md").read_text("utf-8")
(TOML,) = (text for text in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) if "[app.page]" in text)
(URL,) = set(re.findall(r"`(https://your\.name/\w+)`", TEXT))
(COMMAND,) = re.findall(r"`sidebard (sign --page '\S+')`", TEXT)
ROWS = [("email", "name", "helpscout_id"), ("ida@nord.example", "Ida", "604417723"), ("bo@nord.example", "Bo", "")]


class DocumentedDaemon(Daemon):
    """Serves by the document's lines, and no other of [[app]]."""

    def write_config(self, **_: object) -> None:
        """Write the config file."""
        self.config.write_text(
            f'[server]\nlisten = ["{self.listen}"]\nworkers = 1\nstate = "state"\n'
            f'[admin]\nlisten = "{self.admin_listen}"\n'
            f'[customers]\nsource = "customers.csv"\naddresses = ["email"]\n{TOML}'
        )


def test_the_three_requests(tmp_path: Path) -> None:
    write_csv(tmp_path / "customers.csv", ROWS)
    (tmp_path / "page-secret").write_text("the page's secret of tests")
    (tmp_path / "page-secret").chmod(0o600)
    path = URL.removeprefix("https://your.name")
    page = HelpScoutPage([b"the page's secret of tests"])
    with DocumentedDaemon(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")

        def ask(method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            with contextlib.closing(daemon.connect()) as connection:
                connection.request(method, target, body, named)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()

        body = body_for("ida@nord.example")
        status, legacy = ask("POST", path, body, X_HelpScout_Signature=sign(body).decode())
        assert status == 200

        made = run(*COMMAND.replace("'", "").split(), "--config", daemon.config)
        assert (made.returncode, made.stderr) == (0, b"")
        signed = made.stdout.decode().strip().removeprefix("https://your.name")
        status, shown = ask("GET", signed, Sec_Fetch_Dest="iframe")
        assert (status, page.read_card(shown.encode())) == (200, json.loads(legacy)["html"])

        other = page.signed_query(b"customer-id=7")
        assert "Customer not known yet" in ask("GET", f"{path}?{other}")[1]
        event = json.dumps({"id": 7, "_embedded": {"emails": [{"value": "bo@nord.example"}]}}).encode()
        given = {"X_HelpScout_Event": "customer.updated", "X_HelpScout_Signature": sign(event, SECRET).decode()}
        assert ask("POST", path, event, **given)[0] == 200
        assert "<h4>Bo</h4>" in ask("GET", f"{path}?{other}")[1]
        assert daemon.stop() == 0
        daemon.rest()
