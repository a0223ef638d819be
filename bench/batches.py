"""Measures batches of the store's writer: ``python -m bench.batches URL`` prints, for each size, the time a webhook, the
statements of a batch, and how often it waits for the server.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterable

from bench import bodies
from router.decide import Policy, Route, Severity
from router.model import Destination
from router.parse import parse_webhook
from router.store import Store
from tests.statements import accept_in_one_batch, watch_writer

SIZES = (1, 8, 64, 256)
_WEBHOOKS = 1_000
"""How many webhooks each size has, in as many batches as that takes."""
_WARMUPS = 12
"""Batches before those: PostgreSQL plans the first runs of a statement for their parameters."""
_DESTINATIONS = tuple(Destination(f"webhook:{number}", "webhook", None) for number in range(3))
_POLICY = Policy(severity=Severity(), receivers={"bench": _DESTINATIONS}, root=Route("route", "bench"))


async def measure(url: str) -> list[dict[str, float]]:
    took: list[tuple[int, float]] = []
    store = await Store.open(url, observe=lambda seconds, jobs: took.append((len(list(jobs)), seconds)))
    numbers = iter(range(10_000_000))
    found: list[dict[str, float]] = []
    for size in SIZES:
        for _ in range(_WARMUPS):
            await _batch(store, size, numbers)
        took.clear()
        for _ in range(max(_WARMUPS, min(_WEBHOOKS // size, 100))):
            await _batch(store, size, numbers)
        spent = [seconds for count, seconds in took if count == size]
        found.append({"size": size, "us": statistics.median(spent) / size * 1e6})
    last = await watch_writer(store)
    for each in found:
        await _batch(store, int(each["size"]), numbers)
        each |= {"statements": len(last.statements), "round_trips": last.round_trips}
    await store.close()
    return found


async def _batch(store: Store, size: int, numbers: Iterable[int]) -> None:
    """Accept so many webhooks in one batch."""
    requests = bodies.webhooks(number for _, number in zip(range(size), numbers, strict=False))
    raw = [request.partition(b"\r\n\r\n")[2] for _, request in requests]
    now = time.time_ns() // 1_000_000
    parsed = [(parse_webhook(body), body) for body in raw]
    await accept_in_one_batch(store, parsed, _POLICY, now)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
