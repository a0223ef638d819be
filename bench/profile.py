"""Samples where the router spends CPU time. These runs are not timed."""

import json
import time
from collections import Counter

from bench import bodies, rules, sinks, wire
from bench.ingest import CONNECTIONS
from bench.run import Bench

_SHOWN_FUNCTIONS = 20
_CAUTION = """The sampler often sees a thread where it releases Python's lock: in SQLite, in a commit, in zlib. These functions therefore
also get time of the code that ran just before. Measured alone, packing takes 5 us of a webhook's 385.
"""


async def profile(bench: Bench) -> None:
    async with sinks.silent() as port:
        await _sampled(bench, "Profile of ingest, 3 destinations", rules.to_three(port), bench.scale.ingest)
    async with sinks.answering() as sink:
        await _sampled(
            bench, "Profile of a burst to one webhook receiver", rules.to_webhook(sink.url), bench.scale.burst
        )


async def _sampled(bench: Bench, title: str, policy: rules.Rules, count: int) -> None:
    file = bench.folder / "samples.json"
    async with bench.router(policy, launch=("bench.launch", "sample", str(file))) as server:
        load = wire.Load(server.port, bodies.webhooks(bench.take(count)))
        started = time.perf_counter()
        await load.closed(CONNECTIONS, bench.scale.ingest_limit)
        ended = time.perf_counter()
    stacks: Counter[str] = Counter()
    for at, stack, spent in json.loads(file.read_text()):
        if started <= at <= ended:
            stacks[stack] += spent
    bench.notes[title] = f"{_CAUTION}\n{_table(stacks)}"


def _table(stacks: Counter[str]) -> str:
    """Return a table: functions by their own time, and functions of the router by their time with all calls."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stack, spent in stacks.items():
        names = stack.split(";")
        own[names[-1]] += spent
        for name in {each for each in names if each.startswith("router/")}:
            whole[name] += spent
    total = max(1, stacks.total())
    rows = zip(own.most_common(_SHOWN_FUNCTIONS), whole.most_common(_SHOWN_FUNCTIONS), strict=False)
    lines = [f"| {_cell(*left, total)} | {_cell(*right, total)} |" for left, right in rows]
    return "\n".join(["| own time | | with all it calls | |", "|---:|---|---:|---|", *lines])


def _cell(name: str, spent: int, total: int) -> str:
    return f"{spent / total:.1%} | `{name}`"
