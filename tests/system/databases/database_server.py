"""What the database servers of the tests have in common: a folder, a port, TLS, and a reader of the database `shop`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import trustme

from appliance.ingest.sources.database import Server, parse_server


class DatabaseServer:
    """One that runs."""

    scheme: ClassVar[str]
    default_port: ClassVar[int]
    password: ClassVar[str]
    """The reader's."""

    folder: Path
    port: int

    @property
    def ca(self) -> Path:
        """The certificate of the authority that made the server's."""
        return self.folder / "ca.pem"

    @property
    def address(self) -> str:
        """As it is written into a config."""
        return f"{self.scheme}://reader@127.0.0.1:{self.port}/shop"

    def server(self, user: str = "reader", database: str = "shop", **changes: object) -> Server:
        """Return it as a config names it; `changes` are other parts of that."""
        given = {"tls": "", "ca": None, "timeout": 20.0, "encoding": "", "password": lambda: self.password, **changes}
        address = given.pop("address", f"{self.scheme}://{user}@127.0.0.1:{self.port}/{database}")
        return parse_server(address, default_port=self.default_port, **given)  # type: ignore[arg-type]

    def write_certificate(self, *names: str) -> None:
        """Write a certificate for these names and its key, by an authority of its own."""
        authority = trustme.CA()
        certificate = authority.issue_cert(*names)
        authority.cert_pem.write_to_path(self.ca)
        certificate.private_key_pem.write_to_path(self.folder / "server.key")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "server.pem")
