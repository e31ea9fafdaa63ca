"""Pebble, the test authority of Let's Encrypt, as Debian packages it, with ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import trustme

from tests.daemon import until
from tests.ports import free_port

MISSING = [name for name in ("pebble", "pebble-challtestsrv") if shutil.which(name) is None]


class Pebble:
    """An authority on loopback that asks for proofs at two ports."""

    def __init__(
        self,
        folder: Path,
        *,
        tls_port: int,
        http_port: int,
        within: Sequence[str] = (),
        external: Mapping[str, str] | None = None,
    ) -> None:
        """`within` is how a command begins that runs in another network.

        `external` are the keys of the accounts that were made elsewhere, without which there is no other.
        """
        folder.mkdir(exist_ok=True)
        tls = trustme.CA()
        self.ca = folder / "ca.pem"
        tls.cert_pem.write_to_path(self.ca)
        issued = tls.issue_cert("localhost", "127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(folder / "pebble.crt")
        issued.private_key_pem.write_to_path(folder / "pebble.key")
        self._port, dns, management = free_port(), free_port(), free_port()
        self.url = f"https://localhost:{self._port}/dir"
        config = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(folder / "pebble.crt"),
            "privateKey": str(folder / "pebble.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external is not None,
            "externalAccountMACKeys": external or {},
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        environ = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}
        self._log = folder / "pebble.log"
        nothing = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]
        names = ["-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{management}", "-defaultIPv6", ""]
        with self._log.open("w") as log:
            self._processes = [
                subprocess.Popen([*within, *command], env=environ, stdout=log, stderr=log)
                for command in (
                    ["pebble-challtestsrv", *names, *nothing[:6]],
                    ["pebble", "-strict", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"],
                )
            ]
        until(self._is_up, "pebble")

    def _is_up(self) -> bool:
        return "ACME directory available at" in self._log.read_text()

    def __enter__(self) -> Pebble:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    @property
    def issued(self) -> int:
        """How many certificates it has issued."""
        return self._log.read_text().count("Issued certificate serial")
