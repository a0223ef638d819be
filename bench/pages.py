"""Each page and list of a router with a long ledger, compared with ``/healthz`` in the same run.

Each address is asked in turn with ``/healthz``, by the same client. ``/healthz`` is asked in two ways: over a connection
that is kept, as a probe with a pool does, and over a new connection for each request, as Kubernetes' probe and ``curl`` do.
The goal is about new connections; the ratio over a kept one is in a note. So is the first request: the later ones share the
readings of first pages for a second, as browsers do that refresh in the same moment.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from bench import bodies, ledger, rules, sinks, wire
from bench.results import ROUTER, at_most, percentile, shown
from bench.run import Bench, say

_ASKED = 30
"""How often each address is asked in each way."""
_PAGES = (
    "/now", "/alerts", "/alerts?status=any", "/waiting", "/decisions", "/deliveries",
    "/deliveries?outcome=failed&since=1d", "/dead-letters", "/digests", "/routes", "/quarantine", "/configuration",
    "/configuration/history", "/ledger", "/actions", "/destinations", "/api",
)  # fmt: skip
# They are no lists: one reads all changes of a period, and says so; the others run a check, and are asked by people only.
_NOT_MEASURED = frozenset({"/api/v1/ledger", "/api/v1/checks"})
_ROWS = {
    "alert": ("/api/v1/alerts", "id"),
    "delivery": ("/api/v1/deliveries", "id"),
    "destination": ("/api/v1/destinations", "key"),
    "load": ("/api/v1/configuration/history", "id"),
}
"""Where the first row of a list has the parameter of addresses: the list, and the field."""
_OF_A_ROW = (
    ("alert", "/alerts/{}"), ("delivery", "/deliveries/{}"), ("destination", "/destinations/{}"),
    ("load", "/configuration/history/{}"),
)  # fmt: skip
"""Pages of one row."""


async def pages(bench: Bench) -> None:
    """Measure with a ledger of a million changes, each with three fates."""
    async with sinks.answering() as sink:
        policy, database = rules.to_three_webhooks(sink.url), bench.folder / "pages.db"
        async with bench.router(policy, database=database) as server:
            groups = bodies.hundreds(bench.take(ledger.WEBHOOKS))
            await wire.Load(server.port, groups).closed(1, bench.scale.seed_limit)
            # Long messages are cut, so not every alert arrives: each webhook is sent to three destinations.
            await sink.wait(0, bench.scale.seed_limit, requests=3 * ledger.WEBHOOKS)
        changes = await ledger.multiply_changes(database, bench.scale.changes, ("deliveries",))
        say(f"  the ledger has {changes:,} changes")
        async with bench.router(policy, database=database, within=bench.scale.seed_limit) as server:
            for address in await _addresses(_base(server.port)):
                await _beside_healthz(bench, _base(server.port), address, changes)
    database.unlink()


def _base(port: int) -> str:
    return f"http://127.0.0.1:{port}"


async def _addresses(base: str) -> Sequence[str]:
    """Return the addresses of all pages, and of all operations that only read and need no body."""
    async with aiohttp.ClientSession(base) as session:
        document = await _json(session, "/api/v1/openapi.json")
        found = {}
        for name, (address, field) in _ROWS.items():
            if items := (await _json(session, f"{address}?limit=1"))["items"]:
                found[name] = quote(str(items[0][field]), safe="")
    operations = [
        address
        for path, methods in document["paths"].items()
        if path not in _NOT_MEASURED and "get" in methods
        for address in _filled_in(path, methods["get"].get("parameters", ()), found)
    ]
    rows = [wanted.format(found[name]) for name, wanted in _OF_A_ROW if name in found]
    return (*_PAGES, "/status", "/metrics", *rows, *operations)


def _filled_in(path: str, parameters: Iterable[Mapping[str, Any]], found: Mapping[str, str]) -> list[str]:
    """Return the address of an operation with its parameters filled in; empty: some parameter is not known here."""
    required = {each["name"] for each in parameters if each.get("required")}
    if not required:
        return [path]
    (first, *others) = required
    name = next((each for each, (address, _) in _ROWS.items() if path.startswith(f"{address}/{{")), None)
    is_known = name in found and not others and f"{{{first}}}" in path
    return [path.replace(f"{{{first}}}", found[name])] if is_known and name is not None else []


async def _json(session: aiohttp.ClientSession, address: str) -> Any:
    async with session.get(address) as answer:
        return await answer.json()


async def _beside_healthz(bench: Bench, base: str, address: str, changes: int) -> None:
    measure = bench.measure("pages", f"{address} with {changes:,} changes: p50", "ms", at_most(10, "healthz"))
    for is_kept in (True, False):
        connector = aiohttp.TCPConnector(force_close=not is_kept)
        async with aiohttp.ClientSession(base, connector=connector) as session:
            took, status = await _time_in_turn(session, ("/healthz", address))
        if status != 200:
            measure.note(f"answered {status}")
            return
        healthz, page = (percentile(took[each], 50) * 1e3 for each in ("/healthz", address))
        if is_kept:
            measure.note(f"over a kept connection {shown(page)} / {shown(healthz)} = {shown(page / healthz)}")
            measure.note(f"the first one {shown(took[address][0] * 1e3)}")
        else:
            measure.add(ROUTER, page)
            measure.add("healthz", healthz)


async def _time_in_turn(
    session: aiohttp.ClientSession, addresses: Sequence[str]
) -> tuple[dict[str, list[float]], int]:
    """Return how long each request took (seconds), by address, and the last status."""
    took: dict[str, list[float]] = {each: [] for each in addresses}
    status = 0
    for _ in range(_ASKED):
        for each, times in took.items():
            began = time.perf_counter()
            async with session.get(each) as answer:
                await answer.read()
            times.append(time.perf_counter() - began)
            status = answer.status
            if status != 200:
                return took, status
    return took, status
