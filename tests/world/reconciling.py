"""A service that asks an Alertmanager."""

from collections.abc import Callable

from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager


def asking(alertmanager: FakeAlertmanager, more: str = "", every: str = "1m") -> Callable[[str], str]:
    source = (
        f'{{name: prod, alertmanager_url: "{alertmanager.url}", ask_every: {every}, gone_after: 1m{more}}}'
    )
    return lambda rules: f"{rules}\nsources: [{source}]\n"


async def count(world: World, metric: str) -> float:
    lines = await world.get("/metrics")
    return next((float(line.split()[-1]) for line in lines if line.startswith(metric)), 0)
