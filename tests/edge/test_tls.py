"""Certificates, checked before they are used; contexts; and what OpenSSL is told before it is loaded."""

from __future__ import annotations

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.edge.certificate import CertificateError, Validity
from appliance.edge.tls import load_pairs, self_signed, server_context
from tests.server import make_pair

NOW = datetime(2026, 9, 21, tzinfo=UTC)


_SIGNS = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


class Issued:
    """A certificate and its key, and what it can issue in turn."""

    def __init__(self, name, issuer=None, *, key=None, names=None, begin=-1, days=90, digest=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=begin))
            .not_valid_after(NOW + timedelta(days=begin + days))
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        )
        # What a strict client wants to find (RFC 5280, 4.2.1).
        issuer_key = (issuer or self).key.public_key()
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
        builder = builder.add_extension(identifier, critical=False)
        if names is None:
            builder = builder.add_extension(_SIGNS, critical=True)
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        else:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, names)), critical=False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, digest or hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


ROOT = Issued("root")
BETWEEN = Issued("between", ROOT)


@pytest.fixture(autouse=True)
def root_is_trusted(tmp_path_factory, monkeypatch):
    """Have this machine know the authority of the tests, as it does a public one."""
    file = tmp_path_factory.mktemp("authorities") / "root.pem"
    file.write_bytes(ROOT.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def write(folder, leaf, *chain, name="a", key=None):
    certificate, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(b"".join(one.pem for one in (leaf, *chain)))
    key_file.write_bytes((key or leaf).key_pem)
    return certificate, key_file


def leaf(name="support.example.com", **more):
    return Issued(name, BETWEEN, **{"names": [name], **more})


def load(*pairs):
    return load_pairs(pairs, NOW)


def fault(*pairs):
    with pytest.raises(CertificateError) as caught:
        load(*pairs)
    return str(caught.value)


def handshake(context, name, session=None):
    """Shake hands in memory; give the client's end."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(["h2", "http/1.1"])
    if session:
        client = session[1]
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(up, down, server_side=True)
    end = client.wrap_bio(down, up, server_hostname=name, session=session[0] if session else None)
    for _ in range(4):
        for one in (end, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
    server.write(b"x")
    assert end.read(1) == b"x"
    return end, client


def common_name(end):
    certificate = x509.load_der_x509_certificate(end.getpeercert(binary_form=True))
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def test_what_is_served(tmp_path):
    _context, [certificate] = load(write(tmp_path, leaf(names=["Support.Example.com", "*.example.org"]), BETWEEN))
    assert certificate.names == ("support.example.com", "*.example.org")
    assert certificate.validity.ends - certificate.validity.begins == timedelta(days=90)
    assert certificate.validity.days_left(NOW) == 89
    assert certificate.flaws == ()


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("a.example.org", True),
        ("example.org", False),
        ("a.b.example.org", False),
        ("support.example.com", True),
        ("com", False),
        ("", False),
    ],
)
def test_names(name, covered, tmp_path):
    _context, [certificate] = load(write(tmp_path, leaf(names=["support.example.com", "*.example.org"]), BETWEEN))
    assert certificate.covers(name) == covered


@pytest.mark.parametrize(
    ("make", "warning"),
    [
        pytest.param(lambda: [leaf(begin=-100), BETWEEN], "expired on 2026-09-11; renew it", id="expired"),
        pytest.param(lambda: [leaf(begin=1), BETWEEN], "not valid before 2026-09-22 00:00", id="not yet"),
        pytest.param(lambda: [leaf(names=[]), BETWEEN], "names no server", id="no names"),
        pytest.param(lambda: [leaf()], "use the full chain", id="no chain"),
        pytest.param(lambda: [Issued("a", names=["a"])], "signed by itself", id="self-signed"),
    ],
)
def test_served_with_a_warning(make, warning, tmp_path):
    context, [certificate] = load(write(tmp_path, *make()))
    [(said, _)] = certificate.flaws
    assert warning in said
    assert said.startswith(f"{certificate.file}: ")
    handshake(context, "support.example.com")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(
            lambda: [leaf(key=rsa.generate_private_key(65537, 1024)), BETWEEN], "has 1024 bits", id="short RSA"
        ),
        pytest.param(lambda: [leaf(key=ec.generate_private_key(ec.SECP256K1())), BETWEEN], "secp256k1", id="odd curve"),
        pytest.param(lambda: [leaf(key=dsa.generate_private_key(2048)), BETWEEN], "is not used in TLS", id="DSA"),
        pytest.param(lambda: [leaf(), ROOT, BETWEEN], "2 did not issue certificate 1", id="chain in the wrong order"),
        pytest.param(lambda: [leaf(), leaf()], "2 did not issue certificate 1", id="not its chain"),
    ],
)
def test_refused(make, sentence, tmp_path):
    assert sentence in fault(write(tmp_path, *make()))


@pytest.mark.parametrize(
    ("days", "near"),
    [(398, 14), (90, 14), (84, 14), (45, 7.5), (160 / 24, 160 / 24 / 6), (6, 1), (1, 1 / 6)],
    ids=lambda number: f"{number:.3g}",
)
def test_near_its_end_is_the_last_sixth_and_at_most_14_days(days, near):
    validity = Validity(NOW, NOW + timedelta(days=days))
    renewal = validity.ends - timedelta(days=near)
    assert validity.renewal == renewal
    assert not validity.is_near_end(renewal - timedelta(seconds=1))
    assert validity.is_near_end(renewal)
    assert validity.is_near_end(validity.ends + timedelta(days=1))


OLD_ROOT = Issued("old root", begin=-1000, days=900)
NEW_ROOT_SIGNED_BY_OLD = Issued("root", OLD_ROOT, key=ROOT.key, begin=-1000, days=900)
NEW_ROOT_ENDING = Issued("root", Issued("other root"), key=ROOT.key, begin=-1000, days=1005)


def issuer(begin=-10, days=2000, by=ROOT):
    """Return a server's certificate and the intermediate that issued it."""
    between = Issued("issuer", by, begin=begin, days=days)
    return [Issued("support.example.com", between, names=["support.example.com"]), between]


def issued_by_the_root():
    return Issued("support.example.com", ROOT, names=["support.example.com"])


# Each chain, the days until what ends first of what counts, whose that is, and what is said.
CHAINS = {
    "all good": (issuer, 89, "", []),
    "an issuer that is over": (
        lambda: issuer(days=5),
        -5,
        "issuer",
        ["certificate 2 of the chain (issuer) expired on 2026-09-16; use the chain that the authority issues today"],
    ),
    "an issuer that is over, and the root": (
        lambda: [*issuer(days=5), ROOT],
        -5,
        "issuer",
        ["certificate 2 of the chain (issuer) expired on 2026-09-16; use the chain that the authority issues today"],
    ),
    "an issuer near its end": (
        lambda: issuer(begin=-995, days=1000),
        5,
        "issuer",
        ["certificate 2 of the chain (issuer) ends in 5.0 days; use the chain that the authority issues today"],
    ),
    "an issuer that begins tomorrow": (
        lambda: issuer(begin=1),
        89,
        "",
        ["certificate 2 of the chain (issuer) is not valid before 2026-09-22 00:00 UTC; is the clock right?"],
    ),
    "an old cross-signed root at the end": (lambda: [*issuer(), NEW_ROOT_SIGNED_BY_OLD], 89, "", []),
    "and the one that signed it": (lambda: [*issuer(), NEW_ROOT_SIGNED_BY_OLD, OLD_ROOT], 89, "", []),
    "an old cross-signed root second": (lambda: [issued_by_the_root(), NEW_ROOT_SIGNED_BY_OLD], 89, "", []),
    "a cross-signed root near its end": (lambda: [*issuer(), NEW_ROOT_ENDING], 89, "", []),
    "all is over, but the old root is not needed": (
        lambda: [
            Issued("support.example.com", between := Issued("issuer", ROOT, days=2000), names=["x"], begin=-100),
            between,
            NEW_ROOT_SIGNED_BY_OLD,
        ],
        -10,
        "",
        ["expired on 2026-09-11; renew it"],
    ),
    "an issuer that is over before an old root": (
        lambda: [*issuer(days=5), NEW_ROOT_SIGNED_BY_OLD],
        -5,
        "issuer",
        ["certificate 2 of the chain (issuer) expired on 2026-09-16; use the chain that the authority issues today"],
    ),
    "an expired root that is not this machine's, at the end": (
        lambda: [*issuer(by=OLD_ROOT), OLD_ROOT],
        -100,
        "old root",
        [
            "certificate 3 of the chain (old root) expired on 2026-06-13; use the chain that the authority issues"
            " today",
            "issued by an authority that this machine does not know, so Help Scout does not accept it; get one from a"
            " public authority",
        ],
    ),
}


@pytest.mark.parametrize(("make", "days", "whose", "said"), CHAINS.values(), ids=CHAINS)
def test_every_certificate_of_the_chain_counts(make, days, whose, said, tmp_path):
    _context, [certificate] = load(write(tmp_path, *make()))
    assert certificate.validity.days_left(NOW) == days
    assert certificate.issuer == whose
    assert [flaw.sentence for flaw in certificate.flaws] == [f"{certificate.file}: {one}" for one in said]
    assert [flaw.refused for flaw in certificate.flaws] == ["expired" in one or "not valid" in one for one in said]
    assert (certificate.renewal <= NOW) == any("expired" in one or "ends in" in one for one in said)


def test_an_issuer_in_this_machines_store_excuses_nothing(tmp_path, monkeypatch):
    """Other clients have public roots, and no intermediate."""
    renewed = Issued("issuer", ROOT, days=2000)
    over = Issued("issuer", ROOT, key=renewed.key, begin=-10, days=5)
    store = tmp_path / "store.pem"
    store.write_bytes(ROOT.pem + renewed.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    one = Issued("support.example.com", renewed, names=["support.example.com"])
    _context, [certificate] = load(write(tmp_path, one, over))
    assert "certificate 2 of the chain (issuer) expired" in certificate.flaws[0].sentence


def test_refused_pairs(tmp_path):
    one = leaf()
    certificate, key = write(tmp_path, one, BETWEEN)
    assert "do not belong together" in fault(write(tmp_path, one, BETWEEN, name="b", key=leaf()))
    assert "cannot be read: No such file" in fault((tmp_path / "none", key))
    assert "cannot be read: No such file" in fault((certificate, tmp_path / "none"))
    assert "not a PEM file" in fault((key, key))
    assert "not a PEM file" in fault((certificate, certificate))
    for content in (b"", b"x", one.pem[:100], one.pem[:-40]):
        certificate.write_bytes(content)
        assert "not a PEM file" in fault((certificate, key))


def test_a_pass_phrase_is_not_asked_for(tmp_path):
    one = leaf()
    certificate, key = write(tmp_path, one, BETWEEN)
    encryption = serialization.BestAvailableEncryption(b"x")
    key.write_bytes(one.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    assert "is encrypted" in fault((certificate, key))


def test_every_cut_of_a_pair_is_refused_or_whole(tmp_path):
    certificate, key = write(tmp_path, leaf(), BETWEEN)
    for file in (certificate, key):
        content = file.read_bytes()
        for end in range(0, len(content), 61):
            file.write_bytes(content[:end])
            try:
                _context, [loaded] = load((certificate, key))
            except CertificateError:
                continue
            assert loaded.names == ("support.example.com",)
        file.write_bytes(content)


def test_a_name_chooses(tmp_path):
    pairs = [
        write(tmp_path, leaf("a.example.com"), BETWEEN, name="a"),
        write(tmp_path, leaf("b.example.com"), BETWEEN, name="b"),
        write(tmp_path, leaf("star", names=["*.example.org"]), BETWEEN, name="c"),
    ]
    context, certificates = load(*pairs)
    assert len(certificates) == 3
    asked = {"a.example.com": "a.example.com", "B.example.com": "b.example.com", "x.example.org": "star"}
    for name, given in {**asked, "example.net": "a.example.com", None: "a.example.com"}.items():
        end, _ = handshake(context, name)
        assert common_name(end) == given
        assert end.selected_alpn_protocol() == "http/1.1"


def test_tickets_resume_under_every_name(tmp_path):
    context, _ = load(
        write(tmp_path, leaf("a.example.com"), BETWEEN, name="a"),
        write(tmp_path, leaf("b.example.com"), BETWEEN, name="b"),
    )
    for name in ("a.example.com", "b.example.com"):
        first, client = handshake(context, name)
        again, _ = handshake(context, name, (first.session, client))
        assert again.session_reused


def test_ciphers_and_versions(tmp_path):
    context = server_context(*write(tmp_path, leaf(), BETWEEN))
    assert {"TLSv1.2", "TLSv1.3"} == {cipher["protocol"] for cipher in context.get_ciphers()}
    assert [c["name"] for c in context.get_ciphers() if "GCM" not in c["name"] and "CHACHA20" not in c["name"]] == []
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


class TestSelfSigned:
    def test_it_is_made_once(self, tmp_path):
        pair = self_signed(tmp_path / "new", NOW)
        content = [file.read_bytes() for file in pair]
        assert [file.stat().st_mode & 0o777 for file in pair] == [0o600, 0o600]
        assert self_signed(tmp_path / "new", NOW + timedelta(days=300)) == pair
        assert [file.read_bytes() for file in pair] == content

    def test_it_is_made_again_near_its_end(self, tmp_path):
        certificate, _ = self_signed(tmp_path, NOW)
        before = certificate.read_bytes()
        self_signed(tmp_path, NOW + timedelta(days=350))
        assert certificate.read_bytes() != before

    def test_it_can_be_used(self, tmp_path):
        _context, [certificate] = load(self_signed(tmp_path, NOW))
        assert certificate.names == ("localhost", "127.0.0.1", "::1")


GROUPS = """
import os, socket, subprocess, sys
import appliance
from appliance.edge.tls import server_context
from pathlib import Path
import ssl
context = server_context(Path(sys.argv[1]), Path(sys.argv[2]))
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(10)
port = listener.getsockname()[1]
def shake(group):
    # Python 3.11.2 does not know X25519 as a curve.
    command = ["openssl", "s_client", "-groups", group, "-connect", f"127.0.0.1:{port}"]
    own = {"PATH": os.environ["PATH"]}
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own
    )
    try:
        connection, _ = listener.accept()
        with connection, context.wrap_socket(connection, server_side=True):
            return True
    except ssl.SSLError:
        return False
    finally:
        client.communicate(timeout=10)
print(*(shake(group) for group in ("prime256v1", "secp384r1", "X25519", "secp521r1", "X448")))
print(os.environ["OPENSSL_CONF"])
"""


def groups(tmp_path, **environ):
    pair = write(tmp_path, leaf(), BETWEEN)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GROUPS, *map(str, pair)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin", **environ},
        timeout=30,
    )
    return done.stdout.splitlines()


def test_groups(tmp_path):
    shaken, conf = groups(tmp_path)
    assert shaken == "True True True False False"
    assert Path(conf).is_file()


def test_the_operators_own_configuration_is_kept(tmp_path):
    own = tmp_path / "own.cnf"
    own.write_text("")
    shaken, conf = groups(tmp_path, OPENSSL_CONF=str(own))
    assert shaken == "True True True True True"
    assert conf == str(own)


def test_nothing_lies_between_the_loop_and_openssl(tmp_path):
    """The loop calls read and write of what wrap_bio gives for every request; they are to be C's own."""
    certificate, key, _authority = make_pair(tmp_path)
    wrapped = server_context(certificate, key).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert {type(wrapped.read), type(wrapped.write)} == {type(len)}
    with pytest.raises(ssl.SSLWantReadError):
        wrapped.read(1)
