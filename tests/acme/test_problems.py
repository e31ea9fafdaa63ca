"""What an authority says of a problem, whatever it is."""

from __future__ import annotations

import msgspec
import pytest

from appliance.acme.problems import problem_of

PREFIX = "urn:ietf:params:acme:error:"


@pytest.mark.parametrize(
    ("document", "kind", "detail"),
    [
        ({"type": f"{PREFIX}dns", "detail": "no\nsuch name."}, "dns", "no such name"),
        ({"type": f"{PREFIX}dns", "detail": "a\ud800b"}, "dns", "a b"),
        ({"type": f"{PREFIX}d\ud800ns", "detail": "x"}, "protocol", "x"),
        ({"type": f"{PREFIX}{'x' * 65}", "detail": "x"}, "protocol", "x"),
        ({"type": "about:blank"}, "protocol", "HTTP 400"),
        ({"type": 5, "detail": ["x"]}, "protocol", "['x']"),
        ([], "protocol", "HTTP 400"),
    ],
    ids=["two lines", "half a character", "half a character in the kind", "long kind", "no kind", "a number", "a list"],
)
def test_a_problem(document: object, kind: str, detail: str) -> None:
    problem = problem_of(document, 400, 0.0)
    assert (problem.kind, problem.detail) == (kind, detail)
    assert msgspec.json.encode([problem.kind, problem.detail])
