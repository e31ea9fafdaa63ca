"""Signatures and messages from public test suites and documents, each with its source, for every test to share."""

import json
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

_FOLDER = Path(__file__).parent


def cases(name: str) -> list[ParameterSet]:
    """Return the cases of a file as pytest parameters, each with its id."""
    return [pytest.param(case, id=case["id"]) for case in json.loads((_FOLDER / name).read_text("utf-8"))]


BODY_SIGNATURES = cases("body_signatures.json")
QUERY_SIGNATURES = cases("query_signatures.json")
PAGE_QUERIES = cases("page_queries.json")
PAYLOADS = cases("payloads.json")
WEBHOOKS = cases("webhooks.json")
WEBHOOK_SEQUENCES = cases("webhook_sequences.json")
LEGACY_IDS = cases("legacy_ids.json")
INBOX_API = cases("inbox_api.json")
