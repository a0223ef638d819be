"""Computations and reports of the bench. Nothing here measures."""

import asyncio
import json
from pathlib import Path

import pytest

from bench import bodies, report, sinks, wire
from bench.results import ROUTER, Goal, Measure, at_least, at_most, percentile
from bench.run import Bench, Scale


def measure(goal: Goal | None, **figures: list[float]) -> Measure:
    return Measure("row", "what", "ms", goal, {ROUTER: figures.pop("router"), **figures})


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 50), (99, 99), (100, 100), (0, 1)]
)  # of the numbers from 1 to 100
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value
    assert percentile([7.0], percent) == 7.0


def test_a_ratio_compares_figures_of_the_same_round() -> None:
    noisy = measure(at_most(1.1, "empty"), router=[100, 210, 300], empty=[100, 200, 300])
    assert noisy.achieved() == 1.0
    assert noisy.margin() == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("goal", "figure", "reached"),
    [
        (at_least(0.5, "durable"), 50.0, True), (at_least(0.5, "durable"), 49.0, False),
        (at_most(0.2, "durable"), 20.0, True), (at_most(0.2, "durable"), 21.0, False),
        (at_most(3.0), 3.0, True), (at_most(3.0), 3.1, False),
    ],
)  # fmt: skip
def test_the_bound_itself_reaches_a_goal(goal: Goal, figure: float, *, reached: bool) -> None:
    found = measure(goal, router=[figure], durable=[100.0])
    margin = found.margin()
    assert margin is not None
    assert (margin >= 1) is reached
    assert ("✓" if reached else "✗") in report.table([found])


def test_without_its_counterpart_a_goal_is_neither_reached_nor_missed() -> None:
    alone = measure(at_least(1.0, "alertmanager"), router=[5.0])
    assert alone.margin() is None
    assert "✗" not in report.table([alone])
    assert "rect x=" not in report.plot([alone])


def test_the_page_has_every_figure_with_its_spread_and_its_notes(tmp_path: Path) -> None:
    bench = Bench(Scale(), tmp_path)
    found = bench.measure("burst", "notifications", "1/s", at_least(1.0, "alertmanager"))
    for own, other in ((400, 200), (500, 250), (900, 300)):
        found.add(ROUTER, own)
        found.add("alertmanager", other)
    found.note("cut after 5 s")
    page = report.page(bench, "make bench")
    row = next(line for line in page.splitlines() if line.startswith("| notifications"))
    for part in ("500 (400", "900)", "alertmanager 250 (200", "✓ 2", "cut after 5 s"):
        assert part in row
    assert report.PLOT in page


def test_numbered_webhooks_differ_in_their_numbers_alone() -> None:
    (first, one), (_, other) = bodies.webhooks(range(41, 43))
    assert first == 41
    head, _, body = one.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    alert = json.loads(body)["alerts"][0]
    assert alert["labels"]["alertname"] == "Bench00000041E"
    assert one.replace(b"00000041", b"00000042") == other
    assert 1_350 <= len(body) <= 1_450


def test_a_big_group_has_alerts_of_the_wanted_size() -> None:
    ended = json.loads(bodies.big_group(20, 300, ended=True))
    assert [len(json.dumps(alert, separators=(",", ":"))) for alert in ended["alerts"]] == [299] * 20
    assert ended["status"] == "resolved"


async def test_load_and_sink_know_each_request_by_its_number() -> None:
    async with sinks.answering() as sink:
        load = wire.Load(sink.port, bodies.webhooks(range(100)))
        await load.closed(8, limit=60)
        paced = wire.Load(sink.port, bodies.webhooks(range(100, 120)))
        await paced.paced(10_000, limit=60, patience=60)
        assert await sink.wait(120, 60)
    assert set(sink.arrived) == set(range(120))
    assert set(load.answered) == set(range(100))
    assert set(paced.answered) == set(range(100, 120))
    assert all(load.sent[n] <= sink.arrived[n] <= load.answered[n] for n in range(100))


async def test_a_server_that_hangs_up_is_a_refusal() -> None:
    class Rude(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    server = await asyncio.get_running_loop().create_server(Rude, "127.0.0.1", 0)
    async with server:
        load = wire.Load(server.sockets[0].getsockname()[1], bodies.webhooks(range(3)))
        await load.closed(1, limit=60)
    assert not load.answered
    assert load.refused == {0: 1}
