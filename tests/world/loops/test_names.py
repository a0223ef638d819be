"""A name server that does not answer delays nothing that needs no name from it."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from router.model import SECOND
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_slack import Want

# More than any pool of Python's own has threads.
MANY = 40
NOBODY = "nobody.example"


class Silent:
    """Names under ``nobody.example`` are never answered, others are."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.given_up = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(NOBODY):
            self.asked.add(str(host))
            self.given_up.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return self._real(host, *args, **kwargs)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    silent = Silent()
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield silent
    silent.given_up.set()


def named(rules: str, timeout: int = 10) -> str:
    """Slack by a name, and beside it webhooks whose names are never resolved."""
    rules = rules.replace("channels:\n", f"channels:\n  webhook: {{timeout: {timeout}}}\n", 1)
    hooks = "".join(
        f"\n    - webhook: {{url: http://hook-{n}.{NOBODY}/, name: hook-{n}}}" for n in range(MANY)
    )
    rules = rules.replace('api_url: "http://127.0.0.1', 'api_url: "http://localhost')
    return rules.replace("  oncall:\n", f"  oncall:{hooks}\n", 1)


async def all_asked(world: World, silent: Silent) -> None:
    assert world.service is not None
    while len(silent.asked) < MANY:
        await world.service.store.ready()


async def test_unresolvable_names_delay_no_destination_no_reload_and_no_stop(
    world: World, silent: Silent
) -> None:
    """Until the end of the test, not one of the lookups returns."""
    await world.start(named, drain=SECOND)
    await world.post("Down", "critical")
    await all_asked(world, silent)
    await until_delivered(world, 3)
    await world.post("Disk", "critical")
    await until_delivered(world, 6)
    world.slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0CRITICAL", ("Disk",)))
    assert (len(world.pagerduty.accepted), len(world.smtp.mails)) == (2, 2)
    assert (await world.reload(named))[0] == 200
    # With other settings the channel is another one, and deliveries by the old one are under way.
    status, _ = await world.reload(lambda rules: named(rules, timeout=9))  # real time: only as a setting
    assert status == 200
    await world.stop()
    assert not silent.given_up.is_set()


@pytest.mark.parametrize(
    "stuck",
    [
        lambda rules: rules.replace('events_url: "http://127.0.0.1', f'events_url: "http://{NOBODY}'),
        lambda rules: rules.replace('smarthost: "127.0.0.1', f'smarthost: "{NOBODY}'),
        lambda rules: rules.replace('api_url: "http://127.0.0.1', f'api_url: "http://{NOBODY}'),
    ],
    ids=["pagerduty", "email", "slack"],
)
async def test_an_unresolvable_channel_delays_no_other_and_no_stop(
    world: World, silent: Silent, stuck: Any
) -> None:
    await world.start(stuck, drain=SECOND)
    await world.post("Down", "critical")
    await until_delivered(world, 2)
    assert silent.asked == {NOBODY}
    status, _ = await world.reload(lambda rules: rules)
    assert status == 200  # though a delivery by the old settings is under way
    await until_delivered(world, 2)
    await world.stop()


async def test_an_alertmanager_whose_name_does_not_resolve_delays_no_reload(
    world: World, silent: Silent
) -> None:
    source = (
        f"\nsources: [{{name: prod, alertmanager_url: http://{NOBODY}, bearer_token: token-of-nobody}}]\n"
    )
    await world.start(drain=SECOND)
    status, _ = await world.reload(lambda rules: rules + source)
    assert status == 200
    assert silent.asked == {NOBODY}
    await world.stop()
