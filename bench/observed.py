"""What Sentry and traces cost: the same webhooks without their sections, with both, and with every trace."""

from bench import bodies, rules, sinks
from bench.ingest import CONNECTIONS, loaded
from bench.results import ROUTER
from bench.run import Bench, say


async def observed(bench: Bench) -> None:
    """Measure with three destinations that never answer, and a collector that answers immediately."""
    title = f"webhooks observed for Sentry and a collector, {CONNECTIONS} connections"
    rate = bench.measure("observed", title, "1/s")
    cpu = bench.measure("observed", f"{title}: CPU a webhook", "us")
    for number in range(bench.scale.rounds):
        async with sinks.silent() as port, sinks.answering() as collector:
            both = {
                "sentry": {"dsn": f"http://key@127.0.0.1:{collector.port}/1"},
                "tracing": {"endpoint": collector.url},
            }
            every = {**both, "tracing": {"endpoint": collector.url, "sample_rate": 1}}
            for name, sections in ((ROUTER, {}), ("both sections", both), ("every trace", every)):
                async with bench.router({**rules.to_three(port), **sections}) as server:
                    load, used, _ = await loaded(bench, server, bodies.webhooks, bench.scale.ingest)
                rate.add(name, load.rate)
                cpu.add(name, used * 1e6)
                say(
                    f"  round {number + 1}, {name}: {load.rate:,.0f}/s, {used * 1e6:,.0f} us of CPU a webhook"
                )
