"""What a TLS scanner says."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime

from tests.daemon import ROOT, Daemon
from tests.edge.test_tls import NOW, Issued

SSLYZE = ROOT / ".venv-sslyze" / "bin" / "sslyze"


def test_mozilla_calls_it_compliant(tmp_path, measured):
    assert SSLYZE.exists(), "make system installs it"
    begin = (datetime.now(UTC) - NOW).days - 1
    root = Issued("root", begin=begin)
    leaf = Issued("localhost", root, names=["localhost"], begin=begin)
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "pair.pem").write_bytes(leaf.pem + root.pem + leaf.key_pem)
    tls = '[tls]\ncertificate = "pair.pem"\nkey = "pair.pem"\n'
    with Daemon(tmp_path, config=tls) as daemon:
        daemon.wait_for("serving")
        authority_file = f"--certinfo_ca_file={tmp_path / 'root.pem'}"
        done = subprocess.run(
            [SSLYZE, "--mozilla_config=intermediate", authority_file, f"localhost:{daemon.port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"},  # it is not for clients
        )
    assert "OK - Compliant" in done.stdout, done.stdout
    assert done.returncode == 0
    measured(sslyze="intermediate: compliant")
