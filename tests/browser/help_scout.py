"""A mock of Help Scout: its real origin over TLS, with our own certificate, in a Chromium that reaches nothing else.

Its desk puts an app into a frame, records what the page tells it, and sets the height that it is told.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser

from tests.browser.chromium import PATH

DESK = "secure.helpscout.net"
EVIL = "secure.helpscout.net.evil.example"
SIDEBAR = "sidebar.example"

_HTML = """<!doctype html><meta charset="utf-8"><title>Desk</title><link rel="icon" href="data:,">
<body style="margin: 0">
<iframe name="{name}" src="{source}" style="display: block; border: 0; width: 240px; height: 40px"></iframe>
<script>
  window.told = [];
  addEventListener("message", (event) => {{
    const frame = document.querySelector("iframe");
    window.told.push({{ ...event.data, origin: event.origin, known: event.source === frame.contentWindow }});
    if (event.data.type === "SET_APP_HEIGHT") frame.style.height = event.data.value + "px";
  }});
</script>"""


class Certificate(NamedTuple):
    """Files of a certificate for all three names, and the hash of its key by which Chromium trusts it."""

    chain: Path
    key: Path
    pin: str


def make_certificate(folder: Path) -> Certificate:
    """Make an authority, and a certificate that it issues."""
    now = datetime.now(UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Tests", SIDEBAR))

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(public)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))

    root = begin(root_name, root_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName(text) for text in (DESK, EVIL, SIDEBAR)])
    leaf = begin(name, key.public_key()).add_extension(names, critical=False)
    chain, secret = folder / "chain.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    chain.write_bytes(b"".join(one.sign(root_key, hashes.SHA256()).public_bytes(pem) for one in (leaf, root)))
    kind = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    secret.chmod(0o600)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Certificate(chain, secret, base64.b64encode(hashlib.sha256(public).digest()).decode())


class _Desk(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = _HTML.format(name=escape(asked.get("name", "")), source=escape(asked.get("app", ""))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def desk_server(certificate: Certificate) -> Iterator[int]:
    """Serve the desk on loopback; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Desk) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def chromium(started: Browser, certificate: Certificate, desk: int, sidebar: int) -> Iterator[Browser]:
    """Start one to which these names are these ports, and no other name is any; `started` is of the same playwright."""
    rules = [f"MAP {name}:443 127.0.0.1:{desk}" for name in (DESK, EVIL)]
    rules += [f"MAP {SIDEBAR}:443 127.0.0.1:{sidebar}", "MAP * ~NOTFOUND"]
    arguments = [
        "--no-sandbox",
        f"--host-resolver-rules={', '.join(rules)}",
        f"--ignore-certificate-errors-spki-list={certificate.pin}",
    ]
    browser = started.browser_type.launch(executable_path=PATH, args=arguments)
    try:
        yield browser
    finally:
        browser.close()
