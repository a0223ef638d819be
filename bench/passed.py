"""Lists the files and functions that run from a POST to its 200, and from a claim to the record of its delivery."""

import asyncio
import json
import time

from bench import bodies, rules, sinks, wire
from bench.results import ROUTER, Goal, at_most
from bench.run import Bench

# Seconds after an answer, or after a delivery, within which its follow-up work ends.
_SETTLE_SECONDS = 1.0
# Long enough for every periodic task, such as the look at files of secrets, to run once.
_IDLE_SECONDS = 6.0
_Calls = list[tuple[float, int, str]]


async def passed(bench: Bench) -> None:
    """Trace a warning: it waits five seconds for an inhibitor, so the answer and the delivery are separate."""
    for kind in ("webhook", "slack"):
        file = bench.folder / f"calls-{kind}.json"
        async with (
            sinks.answering() as sink,
            bench.router(
                rules.waiting(sink.url, kind), launch=("bench.launch", "trace", str(file))
            ) as server,
        ):
            await _notified(bench, server.port, sink)
            idle = time.perf_counter()
            await asyncio.sleep(_IDLE_SECONDS)
            load, arrived = await _notified(bench, server.port, sink)
        calls: _Calls = json.loads(file.read_text())
        (number,) = load.sent
        answered = load.answered[number]
        # Functions that also run when nothing happens are not part of a path.
        always = {name for at, _, name in calls if idle <= at < load.sent[number]}
        if kind == "webhook":
            names = _answering(calls, load.sent[number], answered, always)
            _count(bench, "from POST to 200", names, at_most(10), at_most(45))
        names = _functions(_between(calls, answered + _SETTLE_SECONDS, arrived + _SETTLE_SECONDS), always)
        _count(bench, f"from claim to record ({kind})", names, at_most(14), at_most(70))


async def _notified(bench: Bench, port: int, sink: sinks.Sink) -> tuple[wire.Load, float]:
    numbers = bench.take(1)
    load = wire.Load(port, bodies.webhooks(numbers, severity="warning"))
    before = len(sink.arrived)
    await load.closed(1, 10)
    if not await sink.wait(before + 1, 20):
        raise RuntimeError("no notification came within 20 s")
    arrived = time.perf_counter()
    await asyncio.sleep(2 * _SETTLE_SECONDS)
    return load, arrived


def _between(calls: _Calls, start: float, end: float) -> _Calls:
    return [call for call in calls if start <= call[0] <= end]


def _answering(calls: _Calls, start: float, end: float, always: set[str]) -> list[str]:
    """Return the functions until an existing task is woken, and those that the webhook's own tasks run after that."""
    older = max(task for at, task, _ in calls if at < start)
    window = [call for call in _between(calls, start, end) if call[2] not in always]
    woken = min((at for at, task, _ in window if 0 < task <= older), default=end)
    own = [call for call in window if call[0] < woken]
    own_tasks = {task for _, task, _ in own if task}
    return _functions([*own, *(call for call in window if call[0] >= woken and call[1] in own_tasks)], always)


def _functions(calls: _Calls, always: set[str]) -> list[str]:
    """Return them in the order of their first call. A comprehension counts as part of its function."""
    names = dict.fromkeys(name for _, _, name in calls)
    return [name for name in names if name not in always and not name.endswith(("comp>", "<genexpr>"))]


def _count(bench: Bench, title: str, names: list[str], files: Goal, functions: Goal) -> None:
    if not names:
        raise RuntimeError(f"{title}: no call was seen")
    bench.measure("passed", f"{title}: files", "", files).add(
        ROUTER, len({name.split(":")[0] for name in names})
    )
    bench.measure("passed", f"{title}: functions", "", functions).add(ROUTER, len(names))
    by_file: dict[str, list[str]] = {}
    for name in names:
        file, _, function = name.partition(":")
        by_file.setdefault(file, []).append(function.replace(".<locals>", ""))
    lines = [f"- `{file}`: {', '.join(f'`{each}`' for each in found)}" for file, found in by_file.items()]
    bench.notes[f"Passed {title}"] = "\n".join(lines)
