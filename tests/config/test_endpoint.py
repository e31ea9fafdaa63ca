"""Endpoints: what is written is what is shown."""

from __future__ import annotations

import pytest

from appliance.config.endpoint import parse_endpoint


@pytest.mark.parametrize("text", ["0.0.0.0:443", "[::1]:443", "127.0.0.1:0", "unix:/run/a b.sock"])
def test_endpoint_round_trip(text: str) -> None:
    assert str(parse_endpoint(text)) == text
