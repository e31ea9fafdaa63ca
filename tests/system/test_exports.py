"""An exporter that rewrites the customers and their orders in place, and pauses where a file already looks whole."""

from __future__ import annotations

import re
import threading
import time

from tests.daemon import Daemon

PEOPLE = 2000
PAUSE = 2.5  # seconds, where two looks a second apart were enough
REST = 2.0
CONFIG = '[log]\nrequests = false\n[related.orders]\nsource = "orders.csv"\nkey = "email"\non = "email"\n'


def address(number):
    return f"person{number}@example.com"


def files_of(generation):
    people = "".join(f"{address(one)},Person,export{generation:04}\r\n" for one in range(PEOPLE))
    orders = "".join(f"{address(one)},order{generation:04}\r\n" for one in range(PEOPLE))
    return {"customers.csv": f"email,name,export\r\n{people}", "orders.csv": f"email,order\r\n{orders}"}


def rewrite(folder, generation, pause):
    """Write every file anew where it lies, with a pause after a whole line in the last 15 % of each."""
    for name, text in files_of(generation).items():
        content = text.encode()
        cut = content.rindex(b"\n", 0, len(content) * 9 // 10) + 1
        with open(folder / name, "wb", buffering=0) as export:
            export.write(content[:cut])
            pause(PAUSE)
            export.write(content[cut:])


def test_rewritten_in_place_with_pauses(tmp_path, length, measured):
    """Nobody is unknown, nobody is without orders, and no card mixes two exports."""
    over = threading.Event()
    generations = 0

    def export():
        nonlocal generations
        while not over.is_set():
            generations += 1
            rewrite(tmp_path, generations, over.wait)
            over.wait(REST)

    for name, text in files_of(0).items():
        (tmp_path / name).write_text(text, newline="")
    seen, unknown, without, mixed = set(), 0, 0, 0
    with Daemon(tmp_path, customers=False, config=CONFIG) as daemon:
        daemon.wait_for("serving")
        exporter = threading.Thread(target=export)
        exporter.start()
        try:
            connection = daemon.connect()
            end = time.monotonic() + 3 * length.attack_seconds
            while time.monotonic() < end:
                card = daemon.ask(address(daemon.requests * 37 % PEOPLE), connection)
                exports, orders = re.findall(r"export(\d{4})", card), re.findall(r"order(\d{4})", card)
                unknown += not exports
                without += bool(exports) and not orders
                mixed += len({*exports, *orders}) > 1
                seen.update(exports)
            connection.close()
        finally:
            over.set()
            exporter.join()
        assert daemon.stop() == 0
        daemon.rest()
    imports = sum(line["event"] == "import" for line in daemon.lines)
    measured(
        requests=daemon.requests, exports=generations, imports=imports, unknown=unknown, without_orders=without,
        of_two_exports=mixed,
    )  # fmt: skip
    assert (unknown, without, mixed) == (0, 0, 0)
    assert len(seen) > 1
