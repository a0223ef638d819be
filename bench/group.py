"""A group of very many alerts arrives, repeats and ends. Meanwhile another source sends a critical every 200 ms."""

import asyncio
import itertools
import time

import aiohttp

from bench import bodies, rules, sinks, wire
from bench.machine import Server
from bench.results import ROUTER, at_most
from bench.run import Bench, say

_CRITICALS_PER_SECOND = 5
_AFTERWARDS_SECONDS = 10.0
"""Seconds for which criticals continue after the group is decided, while the group is sent."""
_MAX_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 1.0


async def big_group(bench: Bench) -> None:
    for count, size in bench.scale.groups:
        await _group(bench, count, size)


async def _group(bench: Bench, count: int, size: int) -> None:
    limit, title = bench.scale.group_limit, f"a group of {count:,} alerts of {size} bytes"
    answer = bench.measure("group", f"{title}: its 200", "s", at_most(3))
    critical = bench.measure("group", f"{title}: the slowest answer to a critical webhook", "s", at_most(1))
    page = bench.measure("group", f"{title}: the slowest notification of a critical alert", "s", at_most(2))
    steps = {
        "comes in": bodies.big_group(count, size),
        "repeats": bodies.big_group(count, size),
        "ends": bodies.big_group(count, size, ended=True),
    }
    async with sinks.answering() as sink, bench.router(rules.two_sources(sink.url)) as server:
        warm = wire.Load(server.port, bodies.webhooks(bench.take(5), "/webhook/critical"))
        await warm.closed(1, 10)
        over = False
        numbers = itertools.takewhile(
            lambda _: not over, bench.take(round(_CRITICALS_PER_SECOND * (limit + 30)))
        )
        load = wire.Load(server.port, bodies.webhooks(numbers, "/webhook/critical"))
        criticals = asyncio.create_task(load.paced(_CRITICALS_PER_SECOND, limit + 30, _MAX_WAIT_SECONDS))
        end = time.monotonic() + limit
        for step, body in steps.items():
            took, refused = await _until_taken(server, wire.post("/webhook/group", body), end)
            if took is None:
                answer.add(ROUTER, limit)
                answer.note(f"cut after {limit:.0f} s: not taken when it {step} ({refused} times refused)")
                break
            answer.add(ROUTER, took)
            decided = await _until_decided(server, end)
            say(f"  {title} {step}: its 200 after {took:.2f} s, decided {decided:.1f} s later")
        await asyncio.sleep(_AFTERWARDS_SECONDS)
        over = True
        await criticals
        await sink.wait(5 + len(load.sent), _MAX_WAIT_SECONDS)
    # A critical without an answer or a page counts as if it had taken the whole time.
    critical.add(ROUTER, max(load.answered.get(n, at + limit) - at for n, at in load.sent.items()))
    page.add(ROUTER, max(sink.arrived.get(n, at + limit) - at for n, at in load.sent.items()))
    critical.note(f"of {len(load.sent)}, one every {1_000 // _CRITICALS_PER_SECOND} ms")
    if load.refused:
        critical.note(f"{load.refused.total()} refused")
    if missing := sum(n not in sink.arrived for n in load.sent):
        page.note(f"{missing} did not come")


async def _until_decided(server: Server, end: float) -> float:
    """Return the seconds until the whole group is decided."""
    started = time.monotonic()
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end:
            await asyncio.sleep(_POLL_SECONDS)
            async with session.get(f"http://127.0.0.1:{server.port}/status") as answer:
                if not (await answer.json())["undecided_alerts"]:
                    break
    return time.monotonic() - started


async def _until_taken(server: Server, request: bytes, end: float) -> tuple[float | None, int]:
    """Post until the answer is 200, like Alertmanager. :returns: the seconds, and how often it was refused"""
    started, refused = time.monotonic(), 0
    while (left := end - time.monotonic()) > 0:
        load = wire.Load(server.port, [(0, request)])
        await load.closed(1, left)
        if load.answered:
            return time.monotonic() - started, refused
        refused += 1
        await asyncio.sleep(_RETRY_SECONDS)
    return None, refused
