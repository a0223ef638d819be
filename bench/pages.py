"""Each page and list of a router with a long ledger, compared with ``/healthz`` in the same run."""

import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from bench import bodies, ledger, rules, sinks, wire
from bench.results import ROUTER, at_most, percentile
from bench.run import Bench, say

_ASKED = 20
"""How often each address is asked."""
_PAGES = (
    "/", "/alerts", "/waiting", "/deliveries", "/deliveries?outcome=failed&since=1d", "/dead-letters", "/digests", "/routes",
    "/quarantine", "/configuration", "/ledger", "/actions", "/destinations", "/api",
)  # fmt: skip
# They scan what they are asked about, and a page says so: a period of the ledger counts each of its changes.
_UNBOUNDED = frozenset({"/api/v1/ledger"})
# Lists whose first row leads to an address of its own: the address of the list, the field, and the address to ask.
_OF_A_ROW = (
    ("/api/v1/alerts", "id", "/api/v1/alerts/{}"), ("/api/v1/alerts", "id", "/api/v1/alerts/{}/story"),
    ("/api/v1/alerts", "id", "/alerts/{}"), ("/api/v1/deliveries", "id", "/deliveries/{}"),
)  # fmt: skip


async def pages(bench: Bench) -> None:
    """Measure with a ledger of a million changes, each with three fates."""
    async with sinks.answering() as sink:
        policy, database = rules.to_three_webhooks(sink.url), bench.folder / "pages.db"
        async with bench.router(policy, database=database) as server:
            groups = bodies.hundreds(bench.take(ledger.WEBHOOKS))
            await wire.Load(server.port, groups).closed(1, bench.scale.seed_limit)
            await sink.wait(100 * ledger.WEBHOOKS, bench.scale.seed_limit)
        changes = await ledger.multiply_changes(database, bench.scale.changes, ("deliveries",))
        say(f"  the ledger has {changes:,} changes")
        async with (
            bench.router(policy, database=database, within=bench.scale.seed_limit) as server,
            aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
        ):
            for address in await _addresses(session):
                await _beside_healthz(bench, session, address, changes)
    database.unlink()


async def _addresses(session: aiohttp.ClientSession) -> Sequence[str]:
    """Return the addresses of all pages, and of all operations that only read and need no parameter."""
    document = await _json(session, "/api/v1/openapi.json")
    lists = [
        path
        for path, operations in document["paths"].items()
        if path not in _UNBOUNDED
        and "get" in operations
        and not any(each.get("required") for each in operations["get"].get("parameters", ()))
    ]
    rows = []
    for address, name, wanted in _OF_A_ROW:
        if items := (await _json(session, f"{address}?limit=1"))["items"]:
            rows.append(wanted.format(items[0][name]))
    return (*_PAGES, "/status", "/metrics", *lists, *rows)


async def _json(session: aiohttp.ClientSession, address: str) -> Any:
    async with session.get(address) as answer:
        return await answer.json()


async def _beside_healthz(bench: Bench, session: aiohttp.ClientSession, address: str, changes: int) -> None:
    took: dict[str, list[float]] = {"/healthz": [], address: []}
    for _ in range(_ASKED):
        for each, times in took.items():
            began = time.perf_counter()
            async with session.get(each) as answer:
                await answer.read()
            times.append(time.perf_counter() - began)
            if answer.status != 200:
                bench.measure("pages", address, "ms").note(f"answered {answer.status}")
                return
    measure = bench.measure("pages", f"{address} with {changes:,} changes: p50", "ms", at_most(10, "healthz"))
    measure.add(ROUTER, percentile(took[address], 50) * 1e3)
    measure.add("healthz", percentile(took["/healthz"], 50) * 1e3)
