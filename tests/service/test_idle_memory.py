"""Pages of code that only the start has used."""

from __future__ import annotations

import subprocess
import sys

from tests.daemon import ROOT

USE_AND_RELEASE = """
import decimal, hashlib, re, sqlite3, ssl
from pathlib import Path
from appliance.system.idle_memory import release_code

def resident(kind):
    (line,) = re.findall(f"^{kind}: +([0-9]+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    return int(line)

def use():
    ssl.create_default_context()
    hashlib.sha3_512(b"").digest()
    sqlite3.connect(":memory:").execute("select 1").fetchall()
    return decimal.Decimal(1) / 7

before = use()
clean, written = (resident("Rss") - resident("Anonymous"), resident("Anonymous"))
release_code()
print(clean - (resident("Rss") - resident("Anonymous")), abs(written - resident("Anonymous")))
assert use() == before
"""


def test_clean_pages_are_released_and_the_rest_stays() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", USE_AND_RELEASE], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr
    released, lost = map(int, ended.stdout.split())
    assert released > 2000  # KB, of about 6000
    assert lost < 500  # the text of smaps itself
