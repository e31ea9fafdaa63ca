"""The body signature."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sidebar.protocols.signature import Secret, Verifier
from tests.vectors import BODY_SIGNATURES

BODY = b'{"customer":{"email":"ann@example.com"}}'
SIGNED = base64.b64encode(hmac.digest(b"secret", BODY, "sha1"))


@pytest.mark.parametrize("case", BODY_SIGNATURES)
def test_vector(case):
    verifier = Verifier([Secret(case["secret"].encode())])
    header = case["header"]
    assert verifier.verify(case["body"].encode(), None if header is None else header.encode()) is case["valid"]


@given(secret=st.binary(min_size=1, max_size=200), body=st.binary(max_size=300))
def test_signs_as_the_standard_library_does(secret, body):
    assert Secret(secret).sign(body) == base64.b64encode(hmac.new(secret, body, hashlib.sha1).digest())


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(SIGNED[:-1], id="no padding"),
        pytest.param(SIGNED + b"=", id="more padding"),
        pytest.param(SIGNED[:-2] + bytes([SIGNED[-2] + 1]) + b"=", id="other spelling of the same digest"),
        pytest.param(SIGNED.lower(), id="lower case"),
        pytest.param(SIGNED[:14] + b" " + SIGNED[14:], id="white space inside"),
        pytest.param(SIGNED[:14] + b"\n" + SIGNED[15:], id="line end inside"),
        pytest.param(SIGNED + b", " + SIGNED, id="twice"),
        pytest.param(b"sha1=" + SIGNED, id="prefixed"),
        pytest.param(hmac.digest(b"secret", BODY, "sha1").hex().encode(), id="hex"),
        pytest.param(base64.b64encode(hmac.digest(b"secret", BODY, "sha256")), id="sha256"),
        pytest.param(base64.b64encode(hashlib.sha1(BODY).digest()), id="no key"),
        pytest.param(base64.urlsafe_b64encode(b"\xfb" * 20), id="url-safe alphabet"),
        pytest.param("é".encode() * 14, id="not ASCII"),
        pytest.param(b"\xff" * 28, id="not text"),
        pytest.param(b"A" * 100_000, id="long"),
    ],
)
def test_refuses(signature):
    assert Verifier([Secret(b"secret")]).verify(BODY, signature) is False


def test_accepts_no_flipped_bit():
    """Every bit of the body and of the signature matters (S3)."""
    verifier = Verifier([Secret(b"secret")])
    for text, other, signed_first in ((BODY, SIGNED, False), (SIGNED, BODY, True)):
        for bit in range(8 * len(text)):
            flipped = bytearray(text)
            flipped[bit // 8] ^= 1 << bit % 8
            pair = (other, bytes(flipped)) if signed_first else (bytes(flipped), other)
            assert not verifier.verify(*pair)


def test_two_secrets_while_rotating():
    old, new = Secret(b"old"), Secret(b"new")
    verifier = Verifier([new, old])
    assert verifier.verify(BODY, new.sign(BODY))
    assert verifier.verify(BODY, old.sign(BODY))
    assert not verifier.verify(BODY, Secret(b"older").sign(BODY))


def test_without_a_secret_nothing_is_accepted():
    assert not Verifier([]).verify(BODY, Secret(b"x").sign(BODY))
    with pytest.raises(ValueError, match="must not be empty"):
        Secret(b"")


def test_a_secret_does_not_show_itself():
    assert "hush" not in repr(Secret(b"hush"))
